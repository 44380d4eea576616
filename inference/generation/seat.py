"""A row at work: what the model has read of it, and what stands between its logits and its next token.

Imports mlx: loaded by the model process only, and everything here runs on the engine thread.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import mlx.core as mx
from mlx_lm.models.cache import TokenBuffer

from inference.errors import GenerationFailed, GrammarFailed, NothingLeft
from inference.generation.guide import Guide
from inference.generation.processors import processors_for
from inference.generation.sampling import Draw, seed_of
from inference.generation.thoughts import Thoughts
from inference.hardware.on_cpu import computes_on_cpu

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inference.generation.processors import LogitsProcessor
    from inference.work import Row

logger = logging.getLogger(__name__)

BANS = ("allowed_token_ids", "bad_words")


@dataclass(slots=True, eq=False)
class Seat:
    """`tokens` are those that its caches hold. `has_begun` once what comes next belongs to the answer."""

    row: Row
    tokens: list[int]
    seed: int
    guide: Guide | None = None
    thoughts: Thoughts | None = None
    has_begun: bool = False
    _processors: list[LogitsProcessor] = field(default_factory=list)
    _history: TokenBuffer | None = None  # what the processors look at, on the device
    _bans: tuple[str, ...] = ()  # the fields that ban tokens
    _dead_end: int | None = None  # behind so many tokens of the answer nothing may come

    @classmethod
    def of(cls, row: Row, *, known: int) -> Seat:
        """For a row whose first `known` tokens need not be read."""
        tokens = row.tokens
        processors = processors_for(
            row.sampling,
            prompt_length=len(row.prompt),
            min_tokens=row.min_tokens,
            stop_tokens=row.stop_tokens,
        )
        if row.seed is None:
            row.seed = seed_of(row.sampling, row.choice)
        return cls(
            row,
            tokens[:known],
            row.seed,
            guide=None if row.matcher is None else Guide(row, row.matcher),
            thoughts=None if row.thought_limit is None else Thoughts(tokens, row.thought_limit),
            _processors=processors,
            _history=TokenBuffer(tokens[:-1]) if processors else None,
            _bans=tuple(name for name in BANS if getattr(row.sampling, name)),
        )

    @property
    def is_plain(self) -> bool:
        """Whether nothing changes its logits."""
        return not self._processors and not self._listens

    @property
    def _listens(self) -> bool:
        """Whether it has to know what is said as it is said."""
        return self.guide is not None or self.thoughts is not None

    @property
    def _may_contradict_itself(self) -> bool:
        """Whether several things close what may come, so that nothing may be left of it."""
        return len(self._bans) + (self.guide is not None) > 1 and bool(self._bans)

    @property
    def is_at_dead_end(self) -> bool:
        """Whether the token that has just been made was drawn from nothing, and is not to be told."""
        return self.row.stuck is not None and self._dead_end == len(self.row.said)

    @property
    def failure(self) -> GenerationFailed:
        """Why its row is stuck."""
        why = str(self.row.stuck)
        if self._dead_end is not None:
            return NothingLeft(why, param=self._bans[0])
        if self.guide is not None and self.guide.has_failed():
            return GrammarFailed(why)
        return GenerationFailed(why)

    def draw(self, ahead: int = 1) -> Draw:
        """How to draw the token behind those that the caches hold and so many `ahead` of them."""
        return Draw(self.row.sampling, self.seed, len(self.tokens) + ahead - len(self.row.prompt))

    def processed(self, logits: Any, token: Any) -> Any:
        """The logits [1, vocabulary] that follow `token` [1], as the request wants them changed.

        Never raises: a row that cannot be processed is stuck, and fails alone.
        """
        if self._dead_end is not None:
            return logits
        try:
            if self._history is not None:
                history = self._history.update_and_fetch(token)
                for processor in self._processors:
                    logits = processor(history, logits)
            said = token.tolist() if self.has_begun and self._listens else []
            if self.guide is not None:  # behind those, so that nothing opens what it has closed
                logits = self.guide(said, logits)
            if self.thoughts is not None:  # a grammar lets thoughts be
                logits = self.thoughts(said, logits)
            if self._may_contradict_itself:
                self._look_for_a_way_on(logits)
        except Exception as error:
            logger.exception("The logits of a request could not be processed.")
            self.row.stuck = f"This request's sampling failed: {error}."
        return logits

    def _look_for_a_way_on(self, logits: Any) -> None:
        """Without one the row is stuck: of nothing but -inf the first token would be drawn."""
        if self._history is None or self.row.stuck is not None or (logits > -mx.inf).any().item():
            return
        self._dead_end = self._history.tokens.size - len(self.row.prompt)
        names = " and ".join(f"'{name}'" for name in self._bans)
        leave = "leave" if self._bans[1:] else "leaves"
        of_what = "" if self.guide is None else " of what the grammar of this request allows"
        self.row.stuck = f"{names} {leave} nothing to be said{of_what}."


def processed(places: Sequence[Seat | None], logits: Any, tokens: Any) -> Any:
    """The logits [places, vocabulary] that follow `tokens` [places], as the rows at these places want them
    changed. Only those that want it are touched.
    """
    busy = [(place, seat) for place, seat in enumerate(places) if seat is not None and not seat.is_plain]
    if not busy:
        return logits
    if not computes_on_cpu():
        mx.async_eval([logits, tokens])  # a grammar has to know the token: meanwhile the device goes on
    rows = [seat.processed(logits[place : place + 1], tokens[place : place + 1]) for place, seat in busy]
    if len(rows) == len(places):
        return mx.concatenate(rows)
    changed = logits + 0  # `logits` may still be read by those who asked for it
    changed[mx.array([place for place, _ in busy])] = mx.concatenate(rows)
    return changed
