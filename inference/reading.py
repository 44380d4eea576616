"""Prompts that are being read, a chunk per step, until their rows can decode.

Imports mlx: loaded by the model process only, and everything here runs on the engine thread. A chunk is
shared: the prompts with the least to read come first, so that a short one does not wait for a long one, but
the oldest one has half of it, so that it gets on. Prompts that end with a chunk are read together in one pass
of the model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import mlx.core as mx
import numpy as np

from inference.batch import shared
from inference.beside import Chunk
from inference.kept_state import fresh_caches, reads_alone, room_for
from inference.pace import SMALLEST_CHUNK_TOKENS
from inference.prompt_cache import shared_tokens
from inference.sampling import logprobs_of, top_tokens
from inference.seat import Seat
from inference.work import Token

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inference.prompt_cache import Reuse
    from inference.work import Row

    Keep = Callable[[Sequence[int], list[Any]], None]  # tokens, and plain caches that hold them

KEEP_TOKENS = 512
"""A long prompt is kept in pieces of so many tokens while it is read: all at once would take a step or more,
and what others could go on from would come late."""
WORTH_WAITING_TOKENS = 64
"""A row begins after another one that is reading the same, if that saves it at least so many tokens."""
MOST_PADDING = 2
"""A prompt is padded to at most so many times its length, to be read together with a longer one."""


@dataclass(slots=True, eq=False)
class Reading:
    """A prompt in the middle of being read. `mark` is a place where its state is to be kept; what comes
    before `kept` is kept already.
    """

    seat: Seat
    caches: list[Any]
    unread: list[int]
    last: int
    mark: int = 0
    kept: int = 0

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
    def until_mark(self) -> int:
        """How much may be read in one go."""
        rest = len(self.unread)
        return min(self.mark - self.place, rest) if self.mark > self.place else rest

    def take(self, most: int) -> list[int]:
        """The next tokens, no more than `most`; they count as read."""
        count = min(most, self.until_mark)
        taken, self.unread = self.unread[:count], self.unread[count:]
        self.seat.tokens += taken
        return taken


class Group(NamedTuple):
    """Rows that can decode now: their caches, plain if it is one, and the last tokens of their prompts."""

    seats: list[Seat]
    caches: list[Any]
    last: list[int]


class Reader:
    """Prompts in, groups out. `keep` is called with what was read when the end of a prompt or a mark is
    reached, and if it `keeps_on_the_way` in between.
    """

    def __init__(self, model: Any, *, keep: Keep, keeps_on_the_way: bool) -> None:
        self._model = model
        self._keep = keep
        self._keep_tokens = KEEP_TOKENS if keeps_on_the_way else math.inf
        self._together = not reads_alone(model)
        self._readings: list[Reading] = []  # the oldest first
        self._beside: list[Reading] = []  # those that are read in the pass of the rows

    @property
    def readings(self) -> Sequence[Reading]:
        return self._readings

    def add(self, reading: Reading) -> None:
        self._readings.append(reading)

    def remove(self, gone: Callable[[Seat], bool]) -> list[Reading]:
        """Read no more of the prompts of which `gone` says so. They are returned."""
        left = [reading for reading in self._readings if gone(reading.seat)]
        self._readings = [reading for reading in self._readings if not gone(reading.seat)]
        return left

    @property
    def can_read_beside(self) -> bool:
        """Whether nothing else is wanted of the prompts than that they are read."""
        return not any(one.seat.row.must_be_judged for one in self._readings)

    def begin(self, budget_tokens: int) -> list[Chunk]:
        """About so many tokens, for the model to read in the pass of the rows. `finish` comes behind it."""
        plan = self._plan(budget_tokens, smallest=1)
        self._beside = [*plan]
        chunks = []
        for one, count in plan.items():
            whole = one.place + len(one.unread) + 1
            chunks.append(Chunk(one.take(count), one.caches, whole))
        return chunks

    def finish(self) -> None:
        """The model has begun with the chunks of `begin`."""
        for one in self._beside:
            self._keep_on_the_way(one)
        self._beside = []

    def ready(self) -> list[Group]:
        """The rows that have nothing left to read: they can decode now."""
        done = [one for one in self._readings if not one.unread]
        self._readings = [one for one in self._readings if one.unread]
        return [Group([one.seat], one.caches, [one.last]) for one in done]

    def is_reading_beginning_of(self, row: Row) -> bool:
        """Whether another prompt that is being read begins like that of `row`, which will then know so much
        more that it is worth waiting. What they share is kept as soon as it is read.
        """
        tokens = row.tokens
        for reading in self._readings:
            known = reading.seat.row.cached_tokens
            whole = reading.place + len(reading.unread)
            shared = shared_tokens(tokens, reading.seat.row.tokens, at_least=known + WORTH_WAITING_TOKENS)
            shared = min(shared, whole, len(tokens) - 1)
            if shared - known < WORTH_WAITING_TOKENS:
                continue
            if reading.place < shared:
                reading.mark = shared if reading.mark <= reading.place else min(reading.mark, shared)
                return True
        return False

    def step(self, budget_tokens: int) -> tuple[list[Group], int]:
        """Read about so many tokens in passes of their own. The rows that can decode now, and how many tokens
        were read.
        """
        plan = self._plan(budget_tokens, smallest=SMALLEST_CHUNK_TOKENS)
        ending = [
            one
            for one, count in plan.items()
            if self._together and count == len(one.unread) > 0 and not one.seat.row.must_be_judged
        ]
        passes = _passes(ending)
        groups = [self._read_together(some) for some in passes if len(some) > 1]
        apart = [one for one in plan if not any(one in some for some in passes if len(some) > 1)]
        for one in apart:
            self._read_alone(one, plan[one])
        in_groups = {seat for group in groups for seat in group.seats}
        self._readings = [one for one in self._readings if one.seat not in in_groups]
        return groups + self.ready(), sum(plan.values())

    def _plan(self, budget: int, *, smallest: int) -> dict[Reading, int]:
        """How much to read of which: no less at a time than the `smallest`, or the rest."""
        plan: dict[Reading, int] = {}
        oldest = next((one for one in self._readings if one.unread), None)
        if oldest is None:
            return plan
        by_need = sorted(self._readings, key=lambda one: len(one.unread))
        plan[oldest] = min(max(budget // 2, smallest), oldest.until_mark)
        left = budget - plan[oldest]
        for one in by_need:
            count = min(left, one.until_mark)
            if one is oldest or not one.unread:
                continue
            if count < min(smallest, one.until_mark):
                break
            plan[one] = count
            left -= count
        plan[oldest] = min(plan[oldest] + max(left, 0), oldest.until_mark)
        return plan

    def _read_alone(self, one: Reading, count: int) -> None:
        chunk = one.take(count)
        with room_for(one.caches, len(chunk) + len(one.unread) + 1):
            logits = self._model(mx.array([chunk]), cache=one.caches)
        if one.seat.row.must_be_judged:
            _judge(one, chunk, logits[0])
        mx.eval([cache.state for cache in one.caches])
        self._keep_on_the_way(one)

    def _keep_on_the_way(self, one: Reading) -> None:
        """Keep what was read, if this is the place."""
        if not one.unread or one.place == one.mark or one.place - one.kept >= self._keep_tokens:
            self._keep(one.seat.tokens, one.caches)
            one.kept = one.place

    def _read_together(self, some: list[Reading]) -> Group:
        """Read several prompts to their ends, padded on the right to the length of the longest."""
        caches = shared([one.caches for one in some])
        chunks = [one.take(len(one.unread)) for one in some]
        lengths = [len(chunk) for chunk in chunks]
        tokens = np.zeros((len(some), max(lengths)), dtype=np.int32)
        for row, chunk in enumerate(chunks):
            tokens[row, : len(chunk)] = chunk
        padding = [max(lengths) - length for length in lengths]
        if any(padding):
            for cache in caches:
                cache.prepare(lengths=lengths, right_padding=padding)
        self._model(mx.array(tokens), cache=caches)
        if any(padding):
            for cache in caches:
                cache.finalize()
        mx.eval([cache.state for cache in caches])
        for place, one in enumerate(some):
            self._keep(one.seat.tokens, [cache.extract(place) for cache in caches])
        return Group([one.seat for one in some], caches, [one.last for one in some])


def _judge(one: Reading, chunk: list[int], logits: Any) -> None:
    """Note how likely the tokens that follow those of `chunk` were, by its `logits` [tokens, vocabulary]."""
    row = one.seat.row
    following = [*chunk[1:], *one.unread[:1]] if one.unread else [*chunk[1:], one.last]
    following = following[: len(row.prompt) - len(row.prompt_odds)]  # not what the answer has said already
    logprobs = logprobs_of(logits[: len(following)])
    chosen: Any = mx.take_along_axis(logprobs, mx.array(following)[:, None], axis=-1)[:, 0].tolist()
    likeliest: list[tuple[tuple[int, float], ...]] = [()] * len(following)
    if row.top_logprobs:
        ids, values = top_tokens(logprobs, row.top_logprobs)
        pairs = zip(ids.tolist(), values.tolist(), strict=True)
        likeliest = [tuple(zip(*pair, strict=True)) for pair in pairs]
    row.prompt_odds += map(Token, following, chosen, likeliest)


def _passes(ending: list[Reading]) -> list[list[Reading]]:
    """Which of the prompts that end now to read together: those of like length."""
    passes: list[list[Reading]] = []
    for one in sorted(ending, key=lambda one: len(one.unread), reverse=True):
        longest = len(passes[-1][0].unread) if passes else 0
        if passes and longest <= MOST_PADDING * len(one.unread) + SMALLEST_CHUNK_TOKENS:
            passes[-1].append(one)
        else:
            passes.append([one])
    return passes
