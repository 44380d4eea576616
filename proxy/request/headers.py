"""Which headers pass, in both directions (contract, sections 3 and 4). Pure functions over raw header pairs.

Names come in lower case, as ASGI servers and our transport give them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote

from ollaproject.wire import ids

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    Pair = tuple[bytes, bytes]

HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"})
CREDENTIALS = frozenset({b"authorization", b"x-api-key", b"cookie", b"x-auth-token"})
# Written anew for every hop. `Expect` was answered by our own server.
REWRITTEN = frozenset(
    {
        b"host",
        b"content-length",
        b"expect",
        b"via",
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"x-real-ip",
        b"x-request-id",
        b"traceparent",
        b"tracestate",
        b"x-olla-request-id",
    }
)
NOT_TO_BACKEND = HOP_BY_HOP | CREDENTIALS | REWRITTEN
# `Date` is written by the server that faces the client.
NOT_TO_CLIENT = HOP_BY_HOP | CREDENTIALS | {b"set-cookie", b"date", b"x-request-id", b"request-id"}
# An event stream must not be kept back or stored anywhere on its way, and its length is not known.
NOT_ON_STREAMS = frozenset({b"content-length", b"cache-control", b"x-accel-buffering"})
STREAM_HEADERS = ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))

# Somebody has passed this request on: the loopback address it comes from says nothing of its sender.
OF_PROXIES = frozenset(
    {
        b"forwarded",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-real-ip",
        b"x-client-ip",
        b"true-client-ip",
        b"cf-connecting-ip",
    }
)
BEARER = b"bearer "
VIA = b"1.1 olla"
EVENT_STREAM = b"text/event-stream"
JSON = b"application/json"
# What an endpoint answers stands at an address of ours, where people are signed in: a page of its making must
# run no script there.
SANDBOXED = (
    (b"content-security-policy", b"sandbox; default-src 'none'; style-src 'unsafe-inline'"),
    (b"x-content-type-options", b"nosniff"),
)
# What may not stand in a header's value: RFC 9110, 5.5.
CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
TRACEPARENT = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")
VISIBLE_ASCII = "".join(map(chr, range(0x20, 0x7F)))
MAX_TEXT_LENGTH = 300
MAX_REMEMBERED_NAMES = 1024


class _Passing(dict[bytes, bool]):
    """Which headers pass, by name: worked out once for each, for a request has few that were never seen."""

    def __init__(self, dropped: frozenset[bytes], prefixes: tuple[bytes, ...]) -> None:
        super().__init__()
        self._dropped = dropped
        self._prefixes = prefixes

    def __missing__(self, name: bytes) -> bool:
        passes = name not in self._dropped and not name.startswith(self._prefixes)
        if len(self) < MAX_REMEMBERED_NAMES:
            self[name] = passes
        return passes


_TO_BACKEND = _Passing(NOT_TO_BACKEND, (b"proxy-",))
_TO_BACKEND_FOR_STREAM = _Passing(NOT_TO_BACKEND | {b"accept-encoding"}, (b"proxy-",))
# Which pages of other origins may read an answer is ours to say (cors), whatever an endpoint lets its own.
_OURS_TO_SAY = (b"proxy-", b"x-olla-", b"access-control-")
_TO_CLIENT = _Passing(NOT_TO_CLIENT, _OURS_TO_SAY)
_TO_CLIENT_ON_STREAM = _Passing(NOT_TO_CLIENT | NOT_ON_STREAMS, _OURS_TO_SAY)


def connection_names(headers: Sequence[Pair]) -> frozenset[bytes]:
    """The headers that `Connection` names, which therefore end at this hop (RFC 9110, 7.6.1)."""
    named = [value for name, value in headers if name == b"connection"]
    if not named or named in ([b"keep-alive"], [b"close"]):
        return frozenset()
    return frozenset(token.strip().lower() for value in named for token in value.split(b","))


def to_backend(headers: Sequence[Pair], *, stream: bool) -> list[Pair]:
    """The client's headers without what ends here. `X-Olla-*` pass, as the contract has it."""
    passing = _TO_BACKEND_FOR_STREAM if stream else _TO_BACKEND
    kept = [pair for pair in headers if passing[pair[0]]]
    if named := connection_names(headers):
        kept = [pair for pair in kept if pair[0] not in named]
    if stream:
        kept.append((b"accept-encoding", b"identity"))
    return kept


def with_own(shared: Sequence[Pair], own: Sequence[Pair]) -> list[Pair]:
    """An endpoint's own headers and credential win over whatever the client sent."""
    if not own:
        return list(shared)
    names = {name for name, _ in own}
    return [*(pair for pair in shared if pair[0] not in names), *own]


def forwarding(headers: Sequence[Pair], *, peer: str, trusted: bool, scheme: str, client: str) -> list[Pair]:
    """What we say of the way the request came.

    `peer` is who connected, `trusted` whether it is one of OLLA_TRUSTED_PROXIES: only then are its own words
    on where the request comes from kept. `client` is the address that results.
    """
    found = dict(headers)
    host = found.get(b"host", b"")
    proto = scheme.encode()
    chain = peer.encode()
    if trusted:
        host = found.get(b"x-forwarded-host", host)
        proto = found.get(b"x-forwarded-proto", proto)
        if b"x-forwarded-for" in found:
            said = b", ".join(value for name, value in headers if name == b"x-forwarded-for")
            chain = said + b", " + chain
    via = [value for name, value in headers if name == b"via"]
    return [
        (b"x-forwarded-for", chain),
        (b"x-forwarded-proto", proto),
        (b"x-forwarded-host", host),
        (b"x-real-ip", client.encode()),
        (b"via", b", ".join([*via, VIA]) if via else VIA),
    ]


def identifying(named: Mapping[bytes, bytes], request_id: bytes) -> list[Pair]:
    """What is another with each request: its ids, and where it stands in the client's trace."""
    pairs = [
        (b"x-olla-request-id", request_id),
        (b"x-request-id", named.get(b"x-request-id") or request_id),
    ]
    if b"traceparent" in named:
        pairs += continued_trace(named[b"traceparent"], named.get(b"tracestate"))
    return pairs


def continued_trace(traceparent: bytes, tracestate: bytes | None) -> list[Pair]:
    """The client's trace with a span of our own (W3C Trace Context). What is not valid is dropped."""
    match = TRACEPARENT.fullmatch(traceparent)
    if match is None:
        return []
    span = ids.new_span_id()
    pairs = [(b"traceparent", b"00-" + match[1] + b"-" + span + b"-" + match[2])]
    return [*pairs, (b"tracestate", tracestate)] if tracestate else pairs


def to_client(headers: Sequence[Pair], *, stream: bool) -> list[Pair]:
    """The backend's headers without what ends here, and without what it may not say in our name."""
    passing = _TO_CLIENT_ON_STREAM if stream else _TO_CLIENT
    kept = [pair for pair in headers if passing[pair[0]]]
    if named := connection_names(headers):
        kept = [pair for pair in kept if pair[0] not in named]
    if CONTROL.search(b"".join([value for _, value in kept])):
        kept = [pair for pair in kept if not CONTROL.search(pair[1])]
    if stream:
        kept.extend(STREAM_HEADERS)
    elif not value(kept, b"content-type").startswith(JSON):
        kept.extend(SANDBOXED)
    return kept


def value(headers: Iterable[Pair], name: bytes) -> bytes:
    """The first value of `name`, empty when there is none."""
    for key, found in headers:
        if key == name:
            return found
    return b""


def sent_keys(headers: Iterable[Pair]) -> Iterator[bytes]:
    """What stands where a key may stand. SDKs send one in either header, some of them in both."""
    for name, value in headers:
        if name == b"authorization":
            if value[: len(BEARER)].lower() == BEARER:
                yield value[len(BEARER) :].strip()
        elif name == b"x-api-key":
            yield value.strip()


def is_event_stream(headers: Iterable[Pair]) -> bool:
    return value(headers, b"content-type").lower().startswith(EVENT_STREAM)


@lru_cache(MAX_REMEMBERED_NAMES)
def text(words: str) -> bytes:
    """`words` as a header value: what is not visible ASCII is percent-encoded, and the length is bounded."""
    if not (words.isascii() and words.isprintable()):
        words = quote(words, safe=VISIBLE_ASCII)
    return words[:MAX_TEXT_LENGTH].encode("ascii")


@lru_cache(MAX_REMEMBERED_NAMES)
def shown(words: str | None) -> str | None:
    """The same for logs and rows, None for None."""
    return None if words is None else text(words).decode()
