"""One request to one endpoint: httpx's request and response over our transport, its errors in our words."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import httpx

from proxy.errors import (
    BrokenAnswerError,
    FirstByteTimeoutError,
    IdleTimeoutError,
    UnreachableError,
    UpstreamError,
)
from proxy.headers import is_event_stream, value, with_own
from proxy.transport import AnswerBody, Origin, Timeouts, Transport, WholeBody

if TYPE_CHECKING:
    from endpoints.snapshot import Target
    from proxy.headers import Pair
    from proxy.translation import Translation

WRITE_TIMEOUT_SECONDS = 30.0
METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
LAST_STATUS = 599


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request as it goes to whichever endpoint is tried. `path` has its slash, `query` no `?`.

    With a `translation`, endpoints that do not speak its format get another one (proxy.translation).
    """

    method: str
    path: bytes
    query: bytes
    headers: list[Pair]
    body: bytes
    translation: Translation | None = None


class Answer:
    """An endpoint's answer whose head is there. `read` gives the body; `close` frees the upstream."""

    __slots__ = ("_body", "headers", "is_stream", "status", "target")

    def __init__(self, target: Target, response: httpx.Response) -> None:
        self.target = target
        self.status = response.status_code
        self.headers: list[Pair] = response.headers.raw
        self.is_stream = is_event_stream(self.headers)
        self._body = cast("AnswerBody", response.stream)

    async def read(self) -> bytes:
        """Raises IdleTimeoutError or BrokenAnswerError."""
        try:
            return await self._body.read()
        except httpx.TransportError as error:
            raise _mid_answer(error) from error

    async def gather(self) -> bytes:
        """The whole body. Raises as `read` does."""
        first = await self.read()
        if self.whole and not self.buffered:
            return first
        pieces = [first]
        while piece := await self.read():
            pieces.append(piece)
        return b"".join(pieces)

    @property
    def whole(self) -> bool:
        """Whether all of the body has arrived."""
        return self._body.whole

    @property
    def buffered(self) -> int:
        """How many bytes of the body can be read at once."""
        return self._body.buffered

    @property
    def length(self) -> int | None:
        """What Content-Length says, None when it says nothing."""
        said = value(self.headers, b"content-length")
        return int(said) if said.isdigit() else None

    def close(self) -> None:
        self._body.close()


class _Destination:
    """What is the same for every request to one endpoint, worked out once."""

    __slots__ = ("base_path", "headers", "host", "origin", "target", "timeouts", "url")

    def __init__(self, target: Target) -> None:
        self.target = target
        self.url = httpx.URL(target.url)
        self.origin = Origin.of(self.url)
        self.host = self.url.netloc
        self.base_path = self.url.raw_path.partition(b"?")[0].rstrip(b"/") if target.preserve_path else b""
        self.headers = [
            (name.lower().encode("latin-1"), text.encode("latin-1")) for name, text in target.headers
        ]
        self.timeouts = Timeouts(
            connect=target.connect_timeout_seconds,
            write=WRITE_TIMEOUT_SECONDS,
            first_byte=target.first_byte_timeout_seconds,
            idle=target.idle_timeout_seconds,
        )

    def path_of(self, path: bytes) -> bytes:
        """Where `path` stands at this endpoint."""
        for known, own in self.target.rewrites:
            if path == known or (known.endswith(b"/") and path.startswith(known)):
                path = own + path[len(known) :]
                break
        return self.base_path + path


class Upstream:
    """Every endpoint, behind one transport. For one event loop."""

    def __init__(self, transport: Transport | None = None) -> None:
        self.transport = transport or Transport()
        self._destinations: dict[int, _Destination] = {}

    async def send(self, target: Target, outgoing: Outgoing) -> Answer:
        """The answer of `target`, as soon as its head is there. Raises UpstreamError."""
        destination = self._destination(target)
        path = destination.path_of(outgoing.path)
        headers = [(b"host", destination.host), *with_own(outgoing.headers, destination.headers)]
        if outgoing.body or outgoing.method in METHODS_WITH_BODY:
            headers.append((b"content-length", b"%d" % len(outgoing.body)))
        request = httpx.Request(
            outgoing.method,
            destination.url,
            headers=headers,
            stream=WholeBody(outgoing.body),
            extensions={
                "timeouts": destination.timeouts,
                "origin": destination.origin,
                "target": path + b"?" + outgoing.query if outgoing.query else path,
            },
        )
        try:
            response = await self.transport.handle_async_request(request)
        except httpx.HTTPError as error:
            raise _before_answer(error) from error
        if response.status_code > LAST_STATUS:
            await response.aclose()
            raise BrokenAnswerError(f"answered with the unknown status {response.status_code}")
        return Answer(target, response)

    async def aclose(self) -> None:
        """Close every connection."""
        await self.transport.aclose()

    def _destination(self, target: Target) -> _Destination:
        known = self._destinations.get(target.id)
        if known is None or known.target is not target:
            known = self._destinations[target.id] = _Destination(target)
        return known


def _before_answer(error: httpx.HTTPError) -> UpstreamError:
    if isinstance(error, httpx.ConnectTimeout):
        return UnreachableError(str(error))
    if isinstance(error, httpx.ConnectError):
        return UnreachableError(_why_not_connected(error.__cause__, str(error)))
    if isinstance(error, httpx.TimeoutException):
        return FirstByteTimeoutError(f"gave no answer: it {error}")
    return BrokenAnswerError(str(error))


def _mid_answer(error: httpx.TransportError) -> UpstreamError:
    if isinstance(error, httpx.TimeoutException):
        return IdleTimeoutError(f"stopped in the middle of its answer: it {error}")
    return BrokenAnswerError(str(error))


def _why_not_connected(cause: BaseException | None, otherwise: str) -> str:
    if isinstance(cause, ConnectionRefusedError):
        return "refused the connection"
    if isinstance(cause, socket.gaierror):
        return "has a host name that is not known"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"has a TLS certificate that does not verify ({cause.verify_message})"
    if isinstance(cause, ssl.SSLError):
        return f"does not speak TLS as it should ({cause.reason})"
    return f"could not be reached ({otherwise})"
