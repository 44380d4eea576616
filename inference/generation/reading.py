"""A prompt in the middle of being read.

Imports mlx: loaded by the model process only, and everything here runs on the engine thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inference.cache.kept_state import fresh_caches
from inference.generation.seat import Seat

if TYPE_CHECKING:
    from inference.cache.prompt_cache import Reuse
    from inference.work import Row


@dataclass(slots=True, eq=False)
class Reading:
    """A prompt in the middle of being read. `mark` is a place where its state is to be kept; what comes
    before `kept` is kept already. When it `is_spoilt`, its caches do not hold what was read. When it
    `draws_at_once`, the pass that reads its end reads the `last` token as well, and leaves `logits` of it.
    """

    seat: Seat
    caches: list[Any]
    unread: list[int]
    last: int
    mark: int = 0
    kept: int = 0
    is_spoilt: bool = False
    draws_at_once: bool = False
    logits: Any = None

    @classmethod
    def of(cls, row: Row, known: Reuse, model: Any) -> Reading:
        """The prompt of a row, of which so much is `known`, and what the row has said already."""
        tokens = row.tokens
        says_nothing = not (row.max_tokens or row.must_be_judged)
        return cls(
            Seat.of(row, known=known.length),
            fresh_caches(model) if known.caches is None else known.caches,
            unread=[] if says_nothing else tokens[known.length : -1],
            last=tokens[-1],
            mark=known.parting,
            kept=known.length,
        )

    @property
    def place(self) -> int:
        """How much of it is read."""
        return len(self.seat.tokens)

    @property
    def length(self) -> int:
        """How much of it there is to read, and was."""
        return self.place + len(self.unread)

    @property
    def until_mark(self) -> int:
        """How much may be read in one go."""
        rest = len(self.unread)
        return min(self.mark - self.place, rest) if self.mark > self.place else rest

    @property
    def rest(self) -> list[int]:
        """What the pass reads that comes to its end."""
        return [*self.unread, self.last] if self.draws_at_once else self.unread

    def take_rest(self) -> None:
        """It counts as read."""
        self.seat.tokens += self.rest
        self.unread = []

    def take(self, count: int) -> list[int]:
        """The next tokens; they count as read."""
        taken, self.unread = self.unread[:count], self.unread[count:]
        self.seat.tokens += taken
        return taken
