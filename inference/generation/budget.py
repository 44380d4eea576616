"""Memory as running rows and the prompt cache share it: the cache has what the rows leave.

Imports mlx: loaded by the model process only, and everything here runs on the engine thread.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inference.cache.prompt_cache import PromptCache
    from inference.generation.room import Load, Room

logger = logging.getLogger(__name__)


class Budget:
    """Without `room` memory is never short."""

    def __init__(self, room: Room | None, prompt_cache: PromptCache) -> None:
        self._room = room
        self._prompt_cache = prompt_cache

    def fits(self, load: Load) -> bool:
        return self._room is None or self._room.fits(load)

    def places_for(self, tokens: Sequence[int]) -> int:
        return len(tokens) if self._room is None else self._room.places_for(tokens)

    def admits(self, load: Load) -> bool:
        """Whether it fits; then the prompt cache gives way to it."""
        if not self.fits(load):
            return False
        self.make_room_for(load)
        return True

    def make_room_for(self, load: Load) -> None:
        """The prompt cache gives way to so much."""
        if self._room is not None:
            self._prompt_cache.make_room(self._room.left_by(load))

    def figures(self, load: Load) -> dict[str, int]:
        """Bytes of keys and values: what running rows need, what the prompt cache holds, what both may."""
        kept = {"prompt_cache_bytes": self._prompt_cache.nbytes}
        if self._room is None:
            return kept
        return {"kv_bytes": self._room.needs(load), **kept, "kv_budget_bytes": self._room.budget_bytes}

    def keep(self, tokens: Sequence[int], caches: Sequence[Any]) -> None:
        """Keep what was read, for others that begin like it. Never raises."""
        try:
            self._prompt_cache.store(tokens, caches)
        except Exception:  # such as a lack of memory: then the cache is the first thing to go
            logger.exception("What was read could not be kept. The prompt cache is emptied.")
            self._prompt_cache.clear()
