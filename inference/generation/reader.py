"""Prompts that are being read, a chunk at a time, until their rows can decode.

Imports mlx: loaded by the model process only, and everything here runs on the engine thread. While rows
decode, short prompts are read in their passes of the model (see beside.py), and long ones in passes
of their own, a slice with each step (see slices.py). The prompts with the least to read come first,
so that a short one does not wait for a long one, but the oldest one has half of everything, so that it gets
on. Prompts that end with a pass are read together in it.
"""

from __future__ import annotations

import math
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from inference.cache.kept_state import reads_alone, take_back
from inference.cache.prompt_cache import shared_tokens
from inference.generation.batch import Group
from inference.generation.beside import Chunk
from inference.generation.pace import SMALLEST_CHUNK_TOKENS
from inference.generation.passes import read_alone, read_end, read_together, which_together, without
from inference.generation.slices import Slices

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from inference.generation.reading import Reading
    from inference.generation.seat import Seat
    from inference.work import Row

    Keep = Callable[[Sequence[int], list[Any]], None]  # tokens, and plain caches that hold them

KEEP_TOKENS = 512
"""A long prompt is kept in pieces of so many tokens while it is read: all at once would take a step or more,
and what others could go on from would come late."""
WORTH_WAITING_TOKENS = 64
"""A row begins after another one that is reading the same, if that saves it at least so many tokens."""
LONGEST_BESIDE = 1024
"""Attention over a longer text takes so long for each token, that a chunk of any size may be too large."""


class Reader:
    """Prompts in, groups out. `keep` is called with what was read when the end of a prompt or a mark is
    reached, and if it `keeps_on_the_way` in between.
    """

    def __init__(
        self, model: Any, *, keep: Keep, keeps_on_the_way: bool, draws_at_once: bool = False
    ) -> None:
        self._model = model
        self._keep = keep
        self._keep_tokens = KEEP_TOKENS if keeps_on_the_way else math.inf
        self._draws_at_once = draws_at_once
        self._together = not reads_alone(model)
        self._readings: list[Reading] = []  # the oldest first
        self._beside: list[Reading] = []  # those that are read in the pass of the rows
        self._slices: Slices | None = None
        self._in_slices: list[Reading] = []
        self._just_read: list[Reading] = []  # by the last slice of a pass
        self.tokens_in_slices = 0
        """How much is read by the pass that was begun last."""
        self._oldest_is_next = True
        self._groups: list[Group] = []

    @property
    def readings(self) -> Sequence[Reading]:
        return self._readings

    def add(self, reading: Reading) -> None:
        row = reading.seat.row
        reading.draws_at_once = self._draws_at_once and row.max_tokens > 0 and not row.must_be_judged
        self._readings.append(reading)

    def remove(self, gone: Callable[[Seat], bool]) -> list[Reading]:
        """Read no more of the prompts of which `gone` says so. They are returned."""
        left = [one for one in self._readings if gone(one.seat)]
        self._readings = [one for one in self._readings if not gone(one.seat)]
        if any(one in self._in_slices for one in left):
            self._drop_slices()
        for one in left:
            one.is_spoilt |= any(one.seat in group.seats for group in self._groups)
        self._groups = [rest for group in self._groups if (rest := without(group, gone))]
        return left

    def _drop_slices(self) -> None:
        """The pass has written into the caches of a prompt that it reads alone, and into no others."""
        assert self._slices is not None  # noqa: S101
        self._slices.drop()
        first, *others = self._in_slices
        self._slices, self._in_slices = None, []
        if not others:
            first.is_spoilt = not take_back(first.caches, first.place)

    def begin_beside(self, budget_tokens: int, *, most_left: int) -> list[Chunk]:
        """About so many tokens of the prompts of which no more than `most_left` are left, for the model to
        read in the pass of the rows. `finish_beside` comes behind it.
        """
        plan = self._plan(self._short(most_left), budget_tokens, smallest=1)
        self._beside = [*plan]
        return [Chunk(one.take(count), one.caches, one.length + 1) for one, count in plan.items()]

    def finish_beside(self) -> None:
        """The model has begun with the chunks of `begin_beside`."""
        for one in self._beside:
            self._keep_on_the_way(one)
        self._beside = []

    def _short(self, most_left: int) -> list[Reading]:
        """Prompts that need no pass of their own."""
        return [
            one
            for one in self._readings
            if len(one.unread) <= most_left
            and one.length <= LONGEST_BESIDE
            and one not in self._in_slices
            and not one.seat.row.must_be_judged
        ]

    def has_short(self, most_left: int) -> bool:
        return any(one.unread for one in self._short(most_left))

    def _long(self, most_left: int) -> list[Reading]:
        """Prompts with something to read in passes of their own."""
        short = self._short(most_left)
        return [one for one in self._readings if one.unread and one not in short]

    def has_long(self, most_left: int) -> bool:
        return bool(self._long(most_left))

    def begin_slices(self, size: Callable[[int], int], *, most_left: int) -> None:
        """Begin with a pass of its own, unless there is one, for prompts of which more than `most_left` is
        left. It reads so many tokens as `size` says of those that are there to be read.
        """
        if self._slices is None:
            plan = self._next_pass(size, most_left)
            self._in_slices, self.tokens_in_slices = [*plan], sum(plan.values())
            self._slices = Slices(partial(self._read, plan))

    def go_on(self) -> bool:
        """Let a layer of the pass that was begun be computed. Whether that was the last one."""
        assert self._slices is not None  # noqa: S101
        self._slices.go_on()
        if not self._slices.are_over:
            return False
        self._slices, self._in_slices, self._just_read = None, [], self._in_slices
        return True

    def _next_pass(self, size: Callable[[int], int], most_left: int) -> dict[Reading, int]:
        long = self._long(most_left)
        one = long[0] if self._oldest_is_next else min(long, key=lambda one: len(one.unread))
        self._oldest_is_next = not self._oldest_is_next
        plan = {one: size(one.until_mark)}
        left = size(sys.maxsize) - plan[one]
        for other in sorted(long, key=lambda other: len(other.unread)):
            if other is not one and other.until_mark == len(other.unread) <= left:
                plan[other] = len(other.unread)
                left -= plan[other]
        (some,) = (some for some in self._passes_of(plan) if one in some)
        return {each: plan[each] for each in some}

    def ready(self, *, spares_the_step: bool = False) -> list[Group]:
        """The rows that have nothing left to read: they can decode now. Those which the latest slice has read
        do so the next time, if a step that has paid for it is to be spared their joining.
        """
        waiting = {one.seat for one in self._just_read if spares_the_step}
        self._just_read = []
        groups = [group for group in self._groups if waiting.isdisjoint(group.seats)]
        self._groups = [group for group in self._groups if group not in groups]
        grouped = waiting.union(*(group.seats for group in groups))
        done = [one for one in self._readings if not one.unread and one.seat not in grouped]
        self._readings = [one for one in self._readings if one.unread or one.seat in waiting]
        return groups + [Group([one.seat], one.caches, [one.last], one.logits) for one in done]

    def is_reading_beginning_of(self, row: Row) -> bool:
        """Whether another prompt that is being read begins like that of `row`, which will then know so much
        more that it is worth waiting. What they share is kept as soon as it is read.
        """
        tokens = row.tokens
        for reading in self._readings:
            known = reading.seat.row.cached_tokens
            shared = shared_tokens(tokens, reading.seat.row.tokens, at_least=known + WORTH_WAITING_TOKENS)
            shared = min(shared, reading.length, len(tokens) - 1)
            if shared - known < WORTH_WAITING_TOKENS:
                continue
            if reading.place < shared:
                reading.mark = shared if reading.mark <= reading.place else min(reading.mark, shared)
                return True
        return False

    def step(self, budget_tokens: int) -> None:
        """Read about so many tokens, and what is being read, while nobody waits."""
        while self._slices is not None:
            self.go_on()
        plan = self._plan(self._readings, budget_tokens, smallest=SMALLEST_CHUNK_TOKENS)
        for some in self._passes_of(plan):
            self._read({one: plan[one] for one in some})

    def _plan(self, readings: Sequence[Reading], budget: int, *, smallest: int) -> dict[Reading, int]:
        """How much to read of which: no less at a time than the `smallest`, or the rest."""
        plan: dict[Reading, int] = {}
        oldest = next((one for one in readings if one.unread), None)
        if oldest is None:
            return plan
        by_need = sorted(readings, key=lambda one: len(one.unread))
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

    def _passes_of(self, plan: Mapping[Reading, int]) -> list[list[Reading]]:
        """Which to read together."""
        ending = [
            one
            for one, count in plan.items()
            if self._together and count == len(one.unread) and not one.seat.row.must_be_judged
        ]
        return which_together(ending) + [[one] for one in plan if one not in ending]

    def _read(self, plan: Mapping[Reading, int]) -> None:
        """A pass of the model."""
        readings = [*plan]
        if len(readings) > 1:
            group = read_together(self._model, readings, keep=self._keep)
            self._groups.append(group)  # not before: it may be another list by now
            return
        (one,) = readings
        if one.draws_at_once and plan[one] == len(one.unread):
            read_end(self._model, one)
        else:
            read_alone(self._model, one, plan[one])
        self._keep_on_the_way(one)

    def _keep_on_the_way(self, one: Reading) -> None:
        """Keep what was read, if this is the place."""
        has_mark = one.kept < one.mark <= one.place
        if not one.unread or has_mark or one.place - one.kept >= self._keep_tokens:
            self._keep(one.seat.tokens, one.caches)
            one.kept = one.place
