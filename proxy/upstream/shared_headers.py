"""Headers that many requests have in common, and how they begin such a request on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    from proxy.request.headers import Pair

MAX_BEGINNINGS = 8


class SharedHeaders:
    """`pairs` do not change. `beginnings` of requests go by what else they depend on."""

    __slots__ = ("_without", "beginnings", "pairs")

    def __init__(self, pairs: list[Pair]) -> None:
        self.pairs = pairs
        self.beginnings: dict[Hashable, bytes] = {}
        self._without: dict[tuple[bytes, ...], SharedHeaders] = {}

    def keep(self, which: Hashable, beginning: bytes) -> bytes:
        if len(self.beginnings) >= MAX_BEGINNINGS:
            self.beginnings.clear()
        self.beginnings[which] = beginning
        return beginning

    def without(self, prefixes: tuple[bytes, ...]) -> SharedHeaders:
        """The same without the headers whose names start with one of these."""
        found = self._without.get(prefixes)
        if found is None:
            kept = [pair for pair in self.pairs if not pair[0].startswith(prefixes)]
            found = self._without[prefixes] = SharedHeaders(kept)
        return found
