"""Request heads that have come before, so that they need not be parsed again: see ollaproject.wire.heads.

With each of them is kept what the application found out from it (`SAME_HEAD`). An SDK's eighteen headers cost
15 µs each time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ollaproject.wire.asgi import SAME_HEAD
from ollaproject.wire.heads import Memory, place_of_length, taken_apart, with_length

if TYPE_CHECKING:
    import uvicorn

    from ollaproject.wire.asgi import Scope

# Heads with these are never the same twice: they would drive others out.
NEVER_TWICE = frozenset({b"x-request-id", b"traceparent"})

OF_ITS_CONNECTION = frozenset({"client", "server", "extensions"})


class KnownHead:
    """What is the same for all requests with one head."""

    __slots__ = ("_length_at", "_scope", "found_out")

    def __init__(self, scope: Scope, length_at: int) -> None:
        self._scope = {key: value for key, value in scope.items() if key not in OF_ITS_CONNECTION}
        self._length_at = length_at
        self.found_out: dict[Any, Any] = scope["extensions"][SAME_HEAD]

    def scope(self, digits: bytes) -> dict[str, Any]:
        """That of another request. Who and where its client is, its connection adds."""
        scope = self._scope.copy()
        scope["headers"] = with_length(scope["headers"], self._length_at, digits)
        return scope


class KnownHeads(Memory[KnownHead]):
    """The heads that one server knows."""

    @classmethod
    def of(cls, config: uvicorn.Config) -> KnownHeads:
        found = _of_servers.get(config)
        if found is None:
            found = _of_servers[config] = cls()
        return found

    def learn(self, data: bytes, scope: Scope) -> None:
        """The parser has found a whole request in `data`, the last of those that began there.

        The connection stays open after it. With others before it, `data` is no whole message.
        """
        pieces = taken_apart(data)
        if pieces is None or not NEVER_TWICE.isdisjoint(dict(scope["headers"])):
            return
        self.keep(pieces, KnownHead(scope, place_of_length(scope["headers"], pieces.digits)))


_of_servers: WeakKeyDictionary[uvicorn.Config, KnownHeads] = WeakKeyDictionary()
