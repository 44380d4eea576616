"""What follows from a request's head alone, found out when first asked for.

Our own server gives all requests whose heads are the same, but for Content-Length, one place to keep that in
(`SAME_HEAD`): for most requests it is there already. Nothing here may depend on the connection or the time.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING

from ollaproject.wire.asgi import SAME_HEAD
from ollaproject.wire.itself import CHECK_HEADER, gateway_id
from proxy.request import headers
from proxy.upstream.shared_headers import SharedHeaders

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ollaproject.wire.asgi import Scope
    from proxy.request.headers import Pair

LENGTH = re.compile(rb"[0-9]{1,18}")
# A URL is written to logs and histories all along its way: a key in one is no secret any more.
KEY_IN_QUERY = re.compile(
    rb"(?:^|&)(?:api[-_]?key=|[^&=]*=(?:bearer(?:\+|%20))?sk(?:-|%2d)olla)", re.IGNORECASE
)
# One head comes from few addresses; without a key from as many as there are clients.
MAX_WAYS = 4
# A gateway before another is a way to build things; so many are two that are each other's endpoints.
MAX_GATEWAYS = 4


class Head:
    """Of one request, or of all that begin alike. Content-Length's value is that of the first of them."""

    def __init__(self, pairs: Sequence[Pair], query: bytes) -> None:
        self._pairs = pairs
        self._query = query
        self._passed_on: dict[tuple[bool, str, bool, str, str], SharedHeaders] = {}

    @classmethod
    def of(cls, scope: Scope) -> Head:
        extensions = scope.get("extensions")
        kept = extensions.get(SAME_HEAD) if extensions else None
        if kept is None:
            return cls(scope["headers"], scope.get("query_string", b""))
        head: Head | None = kept.get(cls)
        if head is None:
            head = kept[cls] = cls(scope["headers"], scope.get("query_string", b""))
        return head

    def without(self, names: frozenset[bytes]) -> Head:
        """The same without some headers."""
        return Head([pair for pair in self._pairs if pair[0] not in names], self._query)

    @cached_property
    def named(self) -> dict[bytes, bytes]:
        """Headers by name; of those that are there twice, the last."""
        return dict(self._pairs)

    @cached_property
    def host(self) -> str | None:
        """None when it names none, or several."""
        hosts = [value for name, value in self._pairs if name == b"host"]
        return hosts[0].decode("latin-1") if len(hosts) == 1 else None

    @cached_property
    def content_type(self) -> bytes:
        """Empty when it names none, or several: servers differ in which of them counts."""
        types = [value for name, value in self._pairs if name == b"content-type"]
        return types[0] if len(types) == 1 else b""

    @cached_property
    def sent_keys(self) -> tuple[bytes, ...]:
        return tuple(headers.sent_keys(self._pairs))

    @cached_property
    def key_in_url(self) -> bool:
        return bool(self._query and KEY_IN_QUERY.search(self._query))

    @cached_property
    def was_forwarded(self) -> bool:
        return not headers.OF_PROXIES.isdisjoint(self.named)

    @cached_property
    def is_loop(self) -> bool:
        """Whether it is a check of this gateway's own, or has come through too many."""
        check = self.named.get(CHECK_HEADER.lower().encode())
        if check is not None and check == gateway_id().encode():
            return True
        return sum(value.count(headers.VIA) for name, value in self._pairs if name == b"via") >= MAX_GATEWAYS

    @cached_property
    def ambiguous_length(self) -> bool:
        """Two ways to read where a request ends are how one is smuggled inside another (RFC 9112, 6.3)."""
        lengths = [value for name, value in self._pairs if name == b"content-length"]
        if not lengths:
            return False
        return len(lengths) > 1 or not LENGTH.fullmatch(lengths[0]) or b"transfer-encoding" in self.named

    @cached_property
    def unknown_coding(self) -> bool:
        """Only chunks are undone here: what is done beside them would be taken for the body itself."""
        if b"transfer-encoding" not in self.named:
            return False
        codings = [value.lower() for name, value in self._pairs if name == b"transfer-encoding"]
        return codings != [b"chunked"]

    def passed_on(self, *, stream: bool, peer: str, trusted: bool, client: str, scheme: str) -> SharedHeaders:
        """What an endpoint gets of it, and of the way it came (see `headers.forwarding`)."""
        way = (stream, peer, trusted, client, scheme)
        found = self._passed_on.get(way)
        if found is None:
            if len(self._passed_on) >= MAX_WAYS:
                self._passed_on.clear()
            pairs = headers.to_backend(self._pairs, stream=stream)
            pairs += headers.forwarding(self._pairs, peer=peer, trusted=trusted, scheme=scheme, client=client)
            found = self._passed_on[way] = SharedHeaders(pairs)
        return found
