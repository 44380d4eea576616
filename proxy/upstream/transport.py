"""httpx's transport interface over our own connections: a pool per origin, no locks, no thread hops.

httpx's stock pool costs ten times everything else on the request path, so its requests, responses and errors
are kept and its pool is not. Under an httpx.AsyncClient this works like any other transport.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import httpx

from endpoints.health.patience import Patience
from ollaproject.wire.heads import Memory
from ollaproject.wire.unix_sockets import connected
from proxy.upstream.connection import Connection, Timeouts
from proxy.upstream.wire_errors import CannotConnectError, ClosedError, StalledError, WireError

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Sequence

    from proxy.request.bodies import Body
    from proxy.upstream.answer_head import AnswerHead

MAX_IDLE_PER_ORIGIN = 256
KEEP_ALIVE_SECONDS = 30.0
DEFAULT_TIMEOUT_SECONDS = 5.0  # httpx's own
IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
DEFAULT_PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """Where connections lead: to a host and port, or to a Unix socket. Requests to one origin share them."""

    scheme: str
    host: str
    port: int
    socket: str = ""

    @classmethod
    def of(cls, url: httpx.URL, *, socket: str = "") -> Origin:
        if url.scheme not in DEFAULT_PORTS:
            raise httpx.UnsupportedProtocol(f"The URL {url} does not start with http:// or https://.")
        return cls(url.scheme, url.host, url.port or DEFAULT_PORTS[url.scheme], socket)


def timeouts_of(request: httpx.Request) -> Timeouts:
    """From the `timeouts` extension, which is ours, else from httpx's own `timeout` extension."""
    own = request.extensions.get("timeouts")
    if isinstance(own, Timeouts):
        return own
    given = request.extensions.get("timeout", {})

    def seconds(name: str) -> float:
        value = given.get(name, DEFAULT_TIMEOUT_SECONDS)
        return float("inf") if value is None else float(value)

    return Timeouts(seconds("connect"), seconds("write"), seconds("read"), seconds("read"))


class WholeBody(httpx.AsyncByteStream):
    """A request body that is in memory already."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.data


class AnswerBody(httpx.AsyncByteStream):
    """The body of an answer. `read` is the quick way through it; iterating works as everywhere in httpx."""

    __slots__ = ("_closed", "_connection", "_idle_seconds", "_pool", "_request")

    def __init__(self, connection: Connection, pool: Transport, request: httpx.Request, idle: float) -> None:
        self._connection = connection
        self._pool = pool
        self._request = request
        self._idle_seconds = idle
        self._closed = False

    async def read(self) -> bytes:
        """What has arrived, waiting for something; b"" at the end.

        Raises httpx.ReadTimeout or httpx.RemoteProtocolError.
        """
        try:
            return await self._connection.read(self._idle_seconds)
        except WireError as error:
            raise as_httpx_error(error, self._request) from error

    @property
    def whole(self) -> bool:
        """Whether all of it has arrived."""
        return self._connection.complete

    @property
    def buffered(self) -> int:
        """How many bytes `read` would give at once."""
        return self._connection.buffered

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while data := await self.read():
            yield data

    def close(self) -> None:
        """Free the connection: for the next request when the answer was read to its end, else close it.

        Only the first call counts: by the second one, the connection may be somebody else's.
        """
        if not self._closed:
            self._closed = True
            self._pool.release(self._connection)

    async def aclose(self) -> None:
        self.close()


class Transport(httpx.AsyncBaseTransport):
    """HTTP/1.1 with keep-alive, TLS with verification. For one event loop.

    An idempotent request is sent again, once and on a fresh connection, when a *reused* connection closed
    before one byte of an answer: the upstream had closed it while it lay idle. The `target`
    extension, as in httpcore, gives the request target byte for byte.
    """

    def __init__(
        self, *, tls: ssl.SSLContext | None = None, keep_alive_seconds: float = KEEP_ALIVE_SECONDS
    ) -> None:
        self._tls = tls
        self._keep_alive_seconds = keep_alive_seconds
        self._idle: dict[Origin, list[Connection]] = {}
        self._origins: dict[Connection, Origin] = {}
        self._known: Memory[AnswerHead] = Memory()
        self._patience = Patience()

    @property
    def open_connections(self) -> int:
        return len(self._origins)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """httpx's way in. Requests of the gateway itself take the shorter one, `exchange`."""
        stream = request.stream
        body = stream.data if isinstance(stream, WholeBody) else await request.aread()
        timeouts = timeouts_of(request)
        try:
            connection = await self.exchange(
                Origin.of(request.url),
                request_head(request),
                body,
                expects_body=request.method != "HEAD",
                repeatable=request.method in IDEMPOTENT_METHODS,
                timeouts=timeouts,
            )
        except WireError as error:
            raise as_httpx_error(error, request) from error.__cause__ or error
        return httpx.Response(
            connection.status,
            headers=connection.headers,
            stream=AnswerBody(connection, self, request, timeouts.idle),
            request=request,
        )

    async def exchange(
        self,
        origin: Origin,
        head: bytes,
        body: Body,
        *,
        expects_body: bool,
        repeatable: bool,
        timeouts: Timeouts,
    ) -> Connection:
        """Send a request; gives the connection when the head of its answer is there. Raises WireError.

        The connection is to be given to `release`. What is not `repeatable` goes over a fresh one: when an
        idle connection closes under a request, nobody knows whether it was acted on.
        """
        reused = self._take_idle(origin) if repeatable else None
        if reused is not None:
            try:
                await reused.exchange(head, body, timeouts=timeouts, expects_body=expects_body)
            except ClosedError:
                if reused.answered:
                    raise
            else:
                return reused
        fresh = await self._connect(origin, timeouts.connect)
        await fresh.exchange(head, body, timeouts=timeouts, expects_body=expects_body)
        return fresh

    async def _connect(self, origin: Origin, seconds: float) -> Connection:
        loop = asyncio.get_running_loop()
        tls = self._tls_context() if origin.scheme == "https" else None

        def made() -> Connection:
            return Connection(loop, self._closed, self._known)

        try:
            async with self._patience.limit(seconds):
                if origin.socket:
                    there = await connected(origin.socket)
                    _, connection = await loop.create_unix_connection(made, sock=there)
                else:
                    _, connection = await loop.create_connection(made, origin.host, origin.port, ssl=tls)
        except TimeoutError:
            raise CannotConnectError(f"gave no connection within {seconds:g} s") from None
        except OSError as error:
            raise CannotConnectError(error.strerror or str(error)) from error
        self._origins[connection] = origin
        return connection

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = httpx.create_ssl_context()  # verifies; honours SSL_CERT_FILE and SSL_CERT_DIR
        return self._tls

    def _take_idle(self, origin: Origin) -> Connection | None:
        waiting = self._idle.get(origin)
        while waiting:
            connection = waiting.pop()
            if not connection.closed:
                return connection
        return None

    def release(self, connection: Connection) -> None:
        origin = self._origins.get(connection)
        if origin is None:
            return  # closed meanwhile
        waiting = self._idle.setdefault(origin, [])
        if connection.reusable and len(waiting) < MAX_IDLE_PER_ORIGIN:
            connection.rest(self._keep_alive_seconds)
            waiting.append(connection)
        else:
            connection.abort()

    def _closed(self, connection: Connection) -> None:
        origin = self._origins.pop(connection, None)
        if origin is not None and connection in (waiting := self._idle.get(origin, [])):
            waiting.remove(connection)

    async def aclose(self) -> None:
        for connection in list(self._origins):
            connection.abort()


def request_head(request: httpx.Request) -> bytes:
    """The request line and headers as they go over the wire."""
    target = request.extensions.get("target") or request.url.raw_path
    try:
        return head_of(request.method, target, request.headers.raw)
    except ValueError as error:
        raise httpx.LocalProtocolError(str(error), request=request) from None


def head_of(method: str, target: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A request line and headers. Raises ValueError where they would break out of their lines."""
    return whole_head(beginning_of(method, target, headers), (), None)


def beginning_of(method: str, target: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The same without an end: more headers can follow."""
    first = b"%b %b HTTP/1.1" % (method.encode("ascii"), target)
    beginning = b"\r\n".join([first, *map(b": ".join, headers)])
    if not _has_lines(beginning, len(headers)) or b" " in target:
        raise ValueError("The request's target or headers hold a line break or a space.")
    return beginning


def whole_head(beginning: bytes, headers: Sequence[tuple[bytes, bytes]], length: int | None) -> bytes:
    """A head that began so, with `headers` and the length of the body, if it has one."""
    end = b"\r\n\r\n" if length is None else b"\r\ncontent-length: %d\r\n\r\n" % length
    lines = b"\r\n".join([b"", *map(b": ".join, headers)])
    if not _has_lines(lines, len(headers)):
        raise ValueError("A header of the request holds a line break.")
    return beginning + lines + end


def _has_lines(text: bytes, breaks: int) -> bool:
    """Whether there are as many line breaks as there should be: one more is somebody's injection."""
    return text.count(b"\n") == breaks and text.count(b"\r") == breaks


def as_httpx_error(error: WireError, request: httpx.Request) -> httpx.TransportError:
    if isinstance(error, CannotConnectError):
        kind = httpx.ConnectTimeout if error.__cause__ is None else httpx.ConnectError
        return kind(str(error), request=request)
    if isinstance(error, StalledError):
        return httpx.ReadTimeout(str(error), request=request)
    return httpx.RemoteProtocolError(str(error), request=request)
