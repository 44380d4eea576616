"""How checks reach an endpoint: over a connection that was opened for them, at a host or at a Unix socket."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import httpcore
import httpx

from ollaproject.wire.unix_sockets import connected

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

# The extension of a request with the path of the socket to ask at, empty for the host of its URL.
SOCKET: Final = "ollaproject.socket"


class FreshConnections(httpx.AsyncBaseTransport):
    """A connection for each request: to the Unix socket that its extension names, else to its URL's host."""

    def __init__(self) -> None:
        self._tls = httpx.create_ssl_context()  # verifies; honours SSL_CERT_FILE, as the upstream side does
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self._to_hosts = httpx.AsyncHTTPTransport(verify=self._tls, trust_env=False, limits=limits)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.extensions[SOCKET]
        transport = _ToSocket(path, self._tls) if path else self._to_hosts
        return await transport.handle_async_request(request)

    async def aclose(self) -> None:
        await self._to_hosts.aclose()


class _ToSocket(httpx.AsyncHTTPTransport):
    """To one Unix socket. The way in which httpx would connect there, anyio's, keeps a core busy while the
    server's queue of connections is full: it waits for a socket that can be written to, and one that is not
    connected always can.
    """

    def __init__(self, path: str, tls: ssl.SSLContext) -> None:
        super().__init__(verify=tls, trust_env=False)
        self._pool = httpcore.AsyncConnectionPool(
            uds=path, max_keepalive_connections=0, network_backend=_Sockets()
        )


class _Sockets(httpcore.AsyncNetworkBackend):
    """Connects to Unix sockets only. Its time limits are those of who asks."""

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ARG002
        socket_options: Any = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        with _failing_as(httpcore.ConnectError):
            there = await connected(path)
            return _Stream(*await asyncio.open_unix_connection(sock=there))


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        with _failing_as(httpcore.ReadError):
            return await self._reader.read(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        with _failing_as(httpcore.WriteError):
            self._writer.write(buffer)
            await self._writer.drain()

    async def aclose(self) -> None:
        self._writer.transport.abort()
        await asyncio.sleep(0)  # the loop closes it in its next turn


@contextmanager
def _failing_as(kind: type[httpcore.NetworkError]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise kind(str(error)) from error
