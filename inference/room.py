"""Who may have memory: running rows first, the prompt cache with what they leave, and whoever waits, waits.

Pure arithmetic over what the model says that tokens cost. A batch is padded to its longest row, so a row
costs what the longest one does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inference.memory import KvCost

HEADROOM_TOKENS = 256
"""What a row must find free beyond its own tokens when it joins, lest it has to leave again at once. mlx-lm's
caches grow by as much."""


@dataclass(frozen=True, slots=True)
class Load:
    """What runs: a batch of `width` rows, the longest of `length` tokens, and prompts being read, which will
    join it with so many tokens.
    """

    width: int
    length: int
    reading: tuple[int, ...]

    def joined_by(self, tokens: int) -> Load:
        return Load(self.width, self.length, (*self.reading, tokens))


@dataclass(frozen=True, slots=True)
class Room:
    """`budget_bytes` for all rows and the prompt cache."""

    cost: KvCost
    budget_bytes: int

    def needs(self, load: Load) -> int:
        """Bytes that what runs will take with its next tokens."""
        width = load.width + len(load.reading)
        longest = max(load.length, *load.reading, 0)
        return width * self.cost.of(longest + HEADROOM_TOKENS) if width else 0

    def fits(self, load: Load) -> bool:
        return self.needs(load) <= self.budget_bytes

    def left_by(self, load: Load) -> int:
        """What the prompt cache may hold beside it."""
        return max(self.budget_bytes - self.needs(load), 0)

    @property
    def longest(self) -> int | None:
        """How many tokens a row may have at the most, prompt and answer together. None: any number."""
        longest = self.cost.tokens_within(self.budget_bytes)
        return None if longest is None else max(longest - HEADROOM_TOKENS, 0)
