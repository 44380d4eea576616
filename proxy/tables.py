"""The routing table for pages: this process's own, or the stored one where none was loaded yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from endpoints import routing_table
from endpoints.snapshot import snapshot

if TYPE_CHECKING:
    from endpoints.snapshot import Snapshot


def current_table() -> Snapshot:
    """What requests are routed by now. Daphne loads none before its first request."""
    now = snapshot()
    return now if now.revision >= 0 else routing_table.build(revision=now.revision)
