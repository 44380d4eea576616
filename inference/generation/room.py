"""Who may have memory: running rows first, the prompt cache with what they leave, and whoever waits, waits.

Pure arithmetic over what the model says that tokens cost. Rows that are padded to the longest one cost what
that one does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inference.generation.pace import Sizes
    from inference.hardware.memory import KvCost

HEADROOM_TOKENS = 256
"""What a row must find free beyond its own tokens when it joins, lest it has to leave again at once. mlx-lm's
caches grow by as much."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many rows may run, how much of prompts may be read between two of their steps, how large their keys
    and values in a layer may be together (see ragged.py), whether prompts may be read in the pass
    of the rows (see beside.py), and whether an answer's first token may be drawn from the pass that
    reads the end of its prompt (see head.py).
    """

    max_rows: int
    chunks: Sizes
    most_padded_bytes: float = math.inf
    reads_beside: bool = False
    draws_at_once: bool = False


@dataclass(frozen=True, slots=True)
class Load:
    """What runs: parts of a batch, each of so many rows and padded to so many tokens, and prompts being read,
    which will join it with so many tokens.
    """

    parts: tuple[tuple[int, int], ...]
    reading: tuple[int, ...]

    def joined_by(self, tokens: int) -> Load:
        return Load(self.parts, (*self.reading, tokens))


@dataclass(frozen=True, slots=True)
class Room:
    """`budget_bytes` for all rows and the prompt cache. `padded_bytes`: rows that would take more together
    are kept apart, and then none costs more than it holds.
    """

    cost: KvCost
    budget_bytes: int
    padded_bytes: float = math.inf

    def needs(self, load: Load) -> int:
        """Bytes that what runs will take with its next tokens, at the most."""
        parts = [*load.parts, *((1, tokens) for tokens in load.reading)]
        width = sum(rows for rows, _ in parts)
        longest = max((tokens for _, tokens in parts), default=0)
        padded = width * self.cost.of(longest + HEADROOM_TOKENS)
        if self.padded_bytes >= padded:
            return padded
        apart = sum(rows * self.cost.of(tokens + HEADROOM_TOKENS) for rows, tokens in parts)
        return int(min(apart + (self.padded_bytes if load.reading else 0), padded))

    def fits(self, load: Load) -> bool:
        return self.needs(load) <= self.budget_bytes

    def places_for(self, tokens: Sequence[int]) -> int:
        """How many rows of so many tokens fit at once, the first ones first; one always does."""
        loads = (Load((), tuple(tokens[:rows])) for rows in range(2, len(tokens) + 1))
        return min(1, len(tokens)) + sum(takewhile(bool, map(self.fits, loads)))

    def left_by(self, load: Load) -> int:
        """What the prompt cache may hold beside it."""
        return max(self.budget_bytes - self.needs(load), 0)

    @property
    def longest(self) -> int | None:
        """How many tokens a row may have at the most, prompt and answer together. None: any number."""
        longest = self.cost.tokens_within(self.budget_bytes)
        return None if longest is None else max(longest - HEADROOM_TOKENS, 0)
