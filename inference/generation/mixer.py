"""What the model works on in a step: rows decode, and prompts are read beside them, between them, or alone.

Imports mlx: loaded by the model process only, and everything here runs on the engine thread. What steps took
is learned here, and how much is read with the next one follows from it (see pace.py).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from inference.generation.pace import MOST_CHUNKS_BESIDE

if TYPE_CHECKING:
    from collections.abc import Callable

    from inference.generation.batch import Batch, Group, Made
    from inference.generation.pace import Pace
    from inference.generation.reader import Reader
    from inference.generation.speculation import Speculation


class Slice(NamedTuple):
    """So many layers of a pass that reads so many tokens, and how long the engine was busy with them."""

    tokens: int = 0
    layers: int = 0
    seconds: float = 0.0


class Mixer:
    """Steps of the `batch`, and what the `reader` reads with them, in the pass of the rows, too, if the model
    `reads_beside` them. Per step: `advance`, `follow_up`.
    """

    def __init__(
        self,
        batch: Batch,
        reader: Reader,
        pace: Pace,
        *,
        speculation: Speculation | None,
        reads_beside: bool,
    ) -> None:
        self._batch = batch
        self._reader = reader
        self._pace = pace
        self._speculation = speculation
        self._reads_beside = reads_beside
        self._was_beside = False
        self._is_followed_up = True
        self._slice = self._slice_before = Slice()

    def advance(self, begin: Callable[[list[Group]], None]) -> list[Made]:
        """What the rows say. Those whose prompts have been read `begin` before."""
        self._is_followed_up = False
        begin(self._reader.ready(spares_the_step=bool(self._batch.seats) and not self._pace.is_clocked))
        if not self._batch.seats and self._reader.readings:
            self._reader.step(self._pace.at_once(self._unread))
            begin(self._reader.ready())
        if not self._batch.seats:
            return []
        made = self._read_beside() if self._is_turn_of_short_prompts else self._decode()
        self._learn()
        return made

    def follow_up(self) -> None:
        """What can wait until the tokens of a step are on their way. Once is enough."""
        if self._is_followed_up:
            return
        self._is_followed_up = True
        self._slice_before, self._slice = self._slice, Slice()
        if self._is_turn_of_long_prompts and (self._pace.is_clocked or not self._pace.looks()):
            self._slice = self._read_slice()
        self._batch.launch()
        self._reader.finish_beside()

    @property
    def _unread(self) -> list[int]:
        return [len(reading.unread) for reading in self._reader.readings]

    @property
    def _most_left_beside(self) -> int:
        """How much may be left of a prompt for which no pass of its own is worth its while."""
        return MOST_CHUNKS_BESIDE * self._pace.beside(self._batch.width) if self._reads_beside else 0

    @property
    def _is_turn_of_short_prompts(self) -> bool:
        """Long ones and short ones take turns."""
        if not self._reader.readings or not self._batch.goes_on:
            return False
        most_left = self._most_left_beside
        return self._reader.has_short(most_left) and not (
            self._was_beside and self._reader.has_long(most_left)
        )

    @property
    def _is_turn_of_long_prompts(self) -> bool:
        if not self._reader.readings or not self._batch.seats or self._was_beside:
            return False
        return self._reader.has_long(self._most_left_beside)

    def _read_beside(self) -> list[Made]:
        tokens = 0 if self._pace.looks() else self._pace.beside_all(self._batch.width, self._unread)
        most_left = self._most_left_beside
        self._batch.dispatch(self._reader.begin_beside(tokens, most_left=most_left) if tokens else ())
        self._was_beside = True
        return self._batch.read()

    def _decode(self) -> list[Made]:
        self._was_beside = False
        if self._speculation is not None:
            disturbed = self._slice.layers or self._slice_before.layers
            return self._speculation.step(self._batch, is_undisturbed=not disturbed)
        self._batch.dispatch()
        return self._batch.read()

    def _read_slice(self) -> Slice:
        """As many layers of a pass as there is time for, or what is left of it."""
        began = time.monotonic()
        self._reader.begin_slices(self._pace.apart, most_left=self._most_left_beside)
        tokens, layers, seconds = self._reader.tokens_in_slices, 0, 0.0
        while self._pace.has_time(tokens, layers=layers, seconds=seconds):
            is_over = self._reader.go_on()
            layers += 1
            seconds = time.monotonic() - began
            if is_over:
                break
        return Slice(tokens, layers, seconds)

    def _learn(self) -> None:
        """From how long the step took that was read."""
        part, before, took = self._slice, self._slice_before, self._batch.took
        if self._pace.is_clocked and part.layers:
            self._pace.note_layers(part.tokens, layers=part.layers, seconds=part.seconds)
        if took is None:
            return
        if self._pace.is_clocked:
            self._pace.note(took.seconds - part.seconds, read_tokens=took.read_tokens)
        elif not (part.layers or before.layers):
            self._pace.note(took.seconds, read_tokens=took.read_tokens)
        elif part.layers and before.layers and part.tokens == before.tokens and not took.read_tokens:
            # The GPU computed the earlier slice in this step, while the later one was made ready.
            layers = (part.layers + before.layers) / 2
            self._pace.note_slice(took.seconds, part.tokens, layers=layers)
