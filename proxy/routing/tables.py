"""The routing table where none was loaded yet: for requests it is awaited, for pages read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from endpoints.routing import routing_table, watch
from endpoints.routing.snapshot import snapshot

if TYPE_CHECKING:
    from endpoints.routing.snapshot import Snapshot


async def routing_table_loaded() -> None:
    """Daphne has no lifespan protocol: there, nothing is loaded before the first request."""
    if snapshot().revision < 0:
        watch.start()
        await watch.ready()


def current_table() -> Snapshot:
    """What requests are routed by now. Daphne loads none before its first request."""
    now = snapshot()
    return now if now.revision >= 0 else routing_table.build(revision=now.revision)
