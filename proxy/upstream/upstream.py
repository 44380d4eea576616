"""One request to one endpoint over our transport, what goes wrong with it in our words."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

import httpx
import msgspec

from ollaproject.wire import socket_urls
from ollaproject.wire.heads import CONTENT_LENGTH
from proxy.errors import (
    BrokenAnswerError,
    FirstByteTimeoutError,
    IdleTimeoutError,
    UnreachableError,
    UpstreamError,
)
from proxy.request.headers import with_own
from proxy.upstream.connection import Timeouts
from proxy.upstream.transport import Origin, Transport, beginning_of, whole_head
from proxy.upstream.wire_errors import CannotConnectError, StalledError, WireError

if TYPE_CHECKING:
    from endpoints.routing.snapshot import Target
    from proxy.formats.translation import Translation
    from proxy.request.bodies import Body
    from proxy.request.headers import Pair
    from proxy.upstream.connection import Connection
    from proxy.upstream.shared_headers import SharedHeaders

WRITE_TIMEOUT_SECONDS = 30.0
METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
LAST_STATUS = 599
# An answer that must be read before it is told in another format. One of a model has some thousand tokens.
MAX_WHOLE_BYTES = 64 * 1024 * 1024

NOT_CONNECTED: tuple[tuple[type[OSError], str], ...] = (
    (ConnectionRefusedError, "refused the connection"),
    (FileNotFoundError, "has no socket at its path"),
    (PermissionError, "may not be connected to by this process"),
    (socket.gaierror, "has a host name that is not known"),
)


class Outgoing(msgspec.Struct):  # made in a third of the time that a dataclass takes
    """A request as it goes to whichever endpoint is tried. `path` has its slash, `query` no `?`.

    `shared` are the headers that it has in common with others, `own` those that are another each time.
    With a `translation`, endpoints that do not speak its format get another one (proxy.formats.translation).
    """

    method: str
    path: bytes
    query: bytes
    shared: SharedHeaders
    own: list[Pair]
    body: Body
    translation: Translation | None = None


class Answer:
    """An endpoint's answer whose head is there. `read` gives the body; `close` frees the upstream."""

    __slots__ = (
        "_closed",
        "_connection",
        "_idle_seconds",
        "_said_length",
        "_transport",
        "head",
        "is_stream",
        "status",
        "target",
    )

    def __init__(self, target: Target, connection: Connection, transport: Transport, idle: float) -> None:
        self.target = target
        self.head = connection.head
        self.status = self.head.status
        self.is_stream = self.head.is_stream
        self._said_length = connection.said_length
        self._connection = connection
        self._transport = transport
        self._idle_seconds = idle
        self._closed = False

    async def read(self) -> bytes:
        """What has arrived, waiting for it; b"" at the end. Raises IdleTimeoutError or BrokenAnswerError."""
        try:
            return await self._connection.read(self._idle_seconds)
        except WireError as error:
            raise _mid_answer(error) from error

    async def gather(self, *, limit: int = MAX_WHOLE_BYTES) -> bytes:
        """The whole body. Raises as `read` does; BrokenAnswerError, too, when it is longer than `limit`."""
        if self.whole:
            return self._connection.take()
        pieces, size = [], 0
        while piece := await self.read():
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise BrokenAnswerError(f"sent an answer longer than {limit} bytes")
        return b"".join(pieces)

    @property
    def whole(self) -> bool:
        """Whether all of the body has arrived."""
        return self._connection.complete

    @property
    def buffered(self) -> int:
        """How many bytes of the body can be read at once."""
        return self._connection.buffered

    @property
    def length(self) -> int | None:
        """What Content-Length says, None when it says nothing."""
        said = self._said_length
        return int(said) if said.isdigit() else None

    @property
    def headers(self) -> list[Pair]:
        """As they came."""
        return self.head.pairs(self._said_length)

    @property
    def length_shown(self) -> list[Pair]:
        """Content-Length, where the client gets it. What else it gets is in `head.shown`."""
        return [(CONTENT_LENGTH, self._said_length)] if self.head.shows_length else []

    def close(self) -> None:
        """Only the first call counts: by the second one, the connection may be somebody else's."""
        if not self._closed:
            self._closed = True
            self._transport.release(self._connection)


class _Destination:
    """What is the same for every request to one endpoint, worked out once."""

    __slots__ = ("base_path", "headers", "host", "names", "origin", "target", "timeouts")

    def __init__(self, target: Target) -> None:
        self.target = target
        socket = socket_urls.read(target.url)
        url = httpx.URL(target.url if socket is None else socket.http)
        self.origin = Origin.of(url, socket="" if socket is None else socket.path)
        self.host = url.netloc
        self.base_path = url.raw_path.partition(b"?")[0].rstrip(b"/") if target.preserve_path else b""
        self.headers = [
            (name.lower().encode("latin-1"), text.encode("latin-1")) for name, text in target.headers
        ]
        self.names = frozenset(name for name, _ in self.headers)
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

    def head(self, outgoing: Outgoing) -> bytes:
        """The request line and the headers, as this endpoint gets them."""
        which = self, outgoing.method, outgoing.path, outgoing.query
        beginning = outgoing.shared.beginnings.get(which)
        if beginning is None:
            beginning = outgoing.shared.keep(which, self._beginning(outgoing))
        own = [pair for pair in outgoing.own if pair[0] not in self.names] if self.names else outgoing.own
        length = None
        if outgoing.body or outgoing.method in METHODS_WITH_BODY:
            length = len(outgoing.body)
        return whole_head(beginning, own, length)

    def _beginning(self, outgoing: Outgoing) -> bytes:
        path = self.path_of(outgoing.path)
        target = path + b"?" + outgoing.query if outgoing.query else path
        return beginning_of(
            outgoing.method, target, [(b"host", self.host), *with_own(outgoing.shared.pairs, self.headers)]
        )


class Upstream:
    """Every endpoint, behind one transport. For one event loop."""

    def __init__(self, transport: Transport | None = None) -> None:
        self.transport = transport or Transport()
        self._destinations: dict[int, _Destination] = {}

    async def send(self, target: Target, outgoing: Outgoing, *, repeatable: bool = False) -> Answer:
        """The answer of `target`, as soon as its head is there. Raises UpstreamError.

        What is not `repeatable` is sent once at most. This goes past httpx's requests and responses, which
        would cost 6 µs a request and say nothing that is not known here.
        """
        destination = self._destination(target)
        head = destination.head(outgoing)
        timeouts = destination.timeouts
        try:
            connection = await self.transport.exchange(
                destination.origin,
                head,
                outgoing.body,
                expects_body=outgoing.method != "HEAD",
                repeatable=repeatable,
                timeouts=timeouts,
            )
        except WireError as error:
            raise _before_answer(error) from error
        answer = Answer(target, connection, self.transport, timeouts.idle)
        if answer.status > LAST_STATUS:
            answer.close()
            raise BrokenAnswerError(f"answered with the unknown status {answer.status}")
        return answer

    async def aclose(self) -> None:
        """Close every connection."""
        await self.transport.aclose()

    def _destination(self, target: Target) -> _Destination:
        known = self._destinations.get(target.id)
        if known is None or known.target is not target:
            known = self._destinations[target.id] = _Destination(target)
        return known


def _before_answer(error: WireError) -> UpstreamError:
    if isinstance(error, CannotConnectError):
        cause = error.__cause__
        return UnreachableError(str(error) if cause is None else _why_not_connected(cause, str(error)))
    if isinstance(error, StalledError):
        return FirstByteTimeoutError(f"gave no answer: it {error}")
    return BrokenAnswerError(str(error))


def _mid_answer(error: WireError) -> UpstreamError:
    if isinstance(error, StalledError):
        return IdleTimeoutError(f"stopped in the middle of its answer: it {error}")
    return BrokenAnswerError(str(error))


def _why_not_connected(cause: BaseException, otherwise: str) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"has a TLS certificate that does not verify ({cause.verify_message})"
    if isinstance(cause, ssl.SSLError):
        return f"does not speak TLS as it should ({cause.reason})"
    known = (words for kind, words in NOT_CONNECTED if isinstance(cause, kind))
    return next(known, f"could not be reached ({otherwise})")
