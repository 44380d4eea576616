"""Which rows the model works on: they wait, are read, decode, leave and fail here.

Imports mlx: loaded by the model process only, and everything here runs on the engine thread. What the model
does in a step, and how much of prompts is read with it, is the mixer's (see mixer.py).
"""

from __future__ import annotations

import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

import mlx.core as mx

from inference.cache.kept_state import can_batch, fresh_caches
from inference.cache.prompt_cache import Reuse
from inference.errors import FAILED, OUT_OF_MEMORY, GenerationFailed
from inference.generation.batch import Batch
from inference.generation.budget import Budget
from inference.generation.mixer import Mixer
from inference.generation.pace import Pace
from inference.generation.reader import Reader
from inference.generation.reading import Reading
from inference.generation.room import Load
from inference.generation.suspects import Suspects
from inference.hardware.memory import is_lack_of_memory
from inference.work import Row, Step, Token

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inference.cache.prompt_cache import PromptCache
    from inference.generation.batch import Group, Made
    from inference.generation.room import Limits, Room
    from inference.generation.seat import Seat
    from inference.generation.speculation import Speculation

logger = logging.getLogger(__name__)


class Scheduler:
    """Rows in, steps out. Without `room` memory is never short; without `speculation` no step gives more than
    a token a row. `pace` may know already what steps take.
    """

    def __init__(
        self,
        model: Any,
        *,
        prompt_cache: PromptCache,
        limits: Limits,
        room: Room | None = None,
        speculation: Speculation | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._model = model
        self._prompt_cache = prompt_cache
        self._budget = Budget(room, prompt_cache)
        self._speculation = speculation
        self._limits = limits
        self.max_rows = limits.max_rows if can_batch(model) else 1
        self.places = self.max_rows
        """How many rows can run now, those that do among them: fewer while one waits for memory."""
        self._pace = pace or Pace(limits.chunks)
        self.in_doubt = False
        """Whether a request has failed, and nobody has looked since whether the model can do anything."""
        self._waiting: deque[Row] = deque()
        self._suspects = Suspects()
        self._ended: list[Seat] = []  # they have been told, and are still in the batch
        self._begin_anew()

    @property
    def waiting(self) -> int:
        return len(self._waiting) + self._suspects.waiting

    @property
    def running(self) -> int:
        return len(self._batch.seats) + len(self._reader.readings) - len(self._ended)

    @property
    def memory(self) -> dict[str, int]:
        """Bytes of keys and values, by name."""
        return self._budget.figures(self._load)

    @property
    def has_work(self) -> bool:
        return bool(self.running or self.waiting or self._ended) or not self._prompt_cache.is_written

    def places_for(self, tokens: Sequence[int]) -> int:
        """How many rows of so many tokens memory holds at once, the first ones first. For any thread."""
        return self._budget.places_for(tokens[: self.max_rows])

    def add(self, row: Row) -> None:
        self._waiting.append(row)

    def step(self) -> list[tuple[Row, Step]]:
        """One step of the model for all rows: waiting ones join, prompts are read on, the others decode.

        Never raises. When the model does, the row that made it fail is looked for and fails alone; the
        others go on from what they had said.
        """
        steps = self.follow_up()
        try:
            self._drop_cancelled()
            self._give_way()
            steps += self._join()
            if self.running:
                self._finish(self._mixer.advance(partial(self._begin_answers, steps)), steps)
        except Exception as error:  # noqa: BLE001 -- whatever the model raises; it is logged there
            steps += self._recover(error)
        return steps

    def follow_up(self) -> list[tuple[Row, Step]]:
        """What a step leaves to be done once its tokens are on their way: the model begins with the next
        ones, what was read is kept, and rows that have come to their end leave. Steps only if that fails.
        """
        try:
            self._mixer.follow_up()
            self._end(self._ended)
            self._ended.clear()
            self._prompt_cache.flush()
        except Exception as error:  # noqa: BLE001 -- as above
            return self._recover(error)
        return []

    def examine(self) -> None:
        """Have the model read a token. Raises what it raises; if nothing, it is in doubt no more."""
        mx.eval(self._model(mx.array([[0]]), cache=fresh_caches(self._model)))
        self.in_doubt = False

    def restart(self) -> None:
        """Forget all rows, and what was read."""
        self._waiting.clear()
        self._suspects.clear()
        self._prompt_cache.clear()
        self._begin_anew()

    def close(self) -> None:
        self.restart()
        self._prompt_cache.close()

    def _begin_anew(self) -> None:
        self._batch = self._new_batch()
        keeps = self._prompt_cache.cuts_anywhere
        self._reader = Reader(
            self._model,
            keep=self._budget.keep,
            keeps_on_the_way=keeps,
            draws_at_once=self._limits.draws_at_once,
        )
        self._mixer = Mixer(
            self._batch,
            self._reader,
            self._pace,
            speculation=self._speculation,
            reads_beside=self._limits.reads_beside,
        )
        self._ended.clear()
        self.places = self.max_rows

    def _new_batch(self) -> Batch:
        return Batch(self._model, most_padded_bytes=self._limits.most_padded_bytes)

    def _begin_answers(self, steps: list[tuple[Row, Step]], groups: list[Group]) -> None:
        """These rows decode from the next step on; those that are to say nothing have come to their end."""
        joining = []
        for group in groups:
            row = group.seats[0].row
            if row.max_tokens:
                joining.append(group)
            else:  # such a prompt is never read together with others
                self._suspects.forget(row)
                steps.append((row, Step(finish_reason="length")))
        self._batch.join(joining)

    def _drop_cancelled(self) -> None:
        self._waiting = deque(row for row in self._waiting if not row.cancelled)
        for reading in self._reader.remove(lambda seat: seat.row.cancelled):
            if not reading.is_spoilt:
                self._budget.keep(reading.seat.tokens, reading.caches)
            self._suspects.forget(reading.seat.row)
        self._end([seat for seat in self._batch.seats if seat.row.cancelled])

    def _join(self) -> list[tuple[Row, Step]]:
        """Rows that wait join while there is room. One that cannot be begun fails alone."""
        failed = []
        self.places = self.max_rows
        while self.running < self.max_rows and (row := self._next_to_join()):
            try:
                self._begin(row)
            except Exception as error:
                logger.exception("A request could not be started.")
                self._suspects.forget(row)
                why = GenerationFailed(f"This request could not be started: {error}.")
                failed.append((row, Step(error=why)))
        return failed

    def _next_to_join(self) -> Row | None:
        if self._suspects:
            return self._suspects.next_row()
        row = next((row for row in self._waiting if not self._is_being_read(row)), None)
        if row is None:
            return None
        if self.running and not self._budget.admits(self._load.joined_by(len(row.tokens))):
            self.places = self.running
            return None  # when nothing runs there is room: what fits never is refused before it waits
        self._waiting.remove(row)
        return row

    @property
    def _load(self) -> Load:
        reading = tuple(one.length for one in self._reader.readings)
        return Load(self._batch.parts, reading)

    def _give_way(self) -> None:
        """When the rows have grown too large, the prompt cache makes room for them, then the youngest rows
        do: they wait, and go on from what they had said."""
        while self.running > 1 and not self._budget.fits(self._load):
            self._set_aside()
        self._budget.make_room_for(self._load)

    def _set_aside(self) -> None:
        if readings := self._reader.readings:
            row = readings[-1].seat.row
            self._reader.remove(lambda seat: seat.row is row)
        else:
            seat = self._batch.seats[-1]
            row = seat.row
            self._batch.leave([seat], free_memory=True)
        self._suspects.forget(row)
        self._waiting.appendleft(row)

    def _is_being_read(self, row: Row) -> bool:
        """Whether a running row is still reading what this one can then have from the cache."""
        has_use = self._prompt_cache.max_bytes and not row.must_be_judged
        return bool(has_use and self._reader.is_reading_beginning_of(row))

    def _begin(self, row: Row) -> None:
        if not row.tokens:
            raise ValueError("it has no tokens")
        reads_anew = row.must_be_judged or not row.max_tokens
        known = Reuse() if reads_anew else self._prompt_cache.fetch(row.tokens)
        if row.must_be_judged:
            row.prompt_odds[:] = [Token(row.tokens[0])]
        if not row.said:
            row.cached_tokens = known.length
        self._reader.add(Reading.of(row, known, self._model))

    def _finish(self, made: list[Made], steps: list[tuple[Row, Step]]) -> None:
        """What was made, as the rows are told; those that have come to their end are about to leave."""
        for one in made:
            if one.seat not in self._ended:
                step = self._step_of(one)
                steps.append((one.seat.row, step))
                if step.is_last:
                    self._ended.append(one.seat)

    def _step_of(self, made: Made) -> Step:
        row = made.seat.row
        self._suspects.note_step(row)
        if made.seat.is_at_dead_end:
            return Step(error=made.seat.failure)
        if made.token in row.stop_tokens:
            return Step(finish_reason="stop", stop_token=made.token)
        row.said.append(made.token)
        token = Token(made.token, made.logprob, made.likeliest)
        if len(row.said) >= row.max_tokens:
            return Step(token, "length")
        if row.stuck is not None:
            return Step(error=made.seat.failure)
        return Step(token)

    def _end(self, seats: list[Seat]) -> None:
        """These rows leave the batch; what they read and said is kept."""
        for seat in seats:
            self._budget.keep(seat.tokens, self._batch.extract(seat))
            self._suspects.forget(seat.row)
        if seats:
            self._batch.leave(seats)

    def _recover(self, failure: Exception) -> list[tuple[Row, Step]]:
        """Begin a new batch. The end of the rows that must be given up."""
        logger.error("A step of the model failed.", exc_info=failure)
        what = FAILED
        if is_lack_of_memory(failure):
            what = OUT_OF_MEMORY
            self._prompt_cache.clear()
        running = [seat.row for seat in self._batch.seats if seat not in self._ended]
        running += [reading.seat.row for reading in self._reader.readings]
        guilty, innocent = self._suspects.accuse(running)
        logger.error("%d requests were in it, %d fail now.", len(running), len(guilty))
        self.in_doubt |= bool(guilty)
        self._waiting.extendleft(reversed(innocent))
        self._begin_anew()
        mx.clear_cache()
        return [(row, Step(error=GenerationFailed(what))) for row in guilty]
