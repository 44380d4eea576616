"""Rows that the model decodes together: one token for each of them per step, the next step made ready before
the last one is read.

Imports mlx: loaded by the model process only, and everything here runs on the engine thread. The caches
are mlx-lm's for a row alone; several share one, in which those of like length are padded on the left
(see ragged.py). To leave copies what others hold, so rows that have left stay as empty places until
they are many, or until another one joins.

A GPU is given the next step before the last one is read, and is never idle. MLX's threads on a processor take
hardly anything in advance, so that whoever gives them a step waits for the most of it: there the tokens of
the last one are read, and on their way to the clients, before the next one is begun.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import mlx.core as mx
from mlx_lm.models.cache import KVCache

from inference.cache.kept_state import can_take_back
from inference.generation.beside import Chunk, read_beside
from inference.generation.odds import Odds
from inference.generation.ragged import RaggedCache, joinable
from inference.generation.sampling import Draw, draw
from inference.generation.seat import processed
from inference.hardware.on_cpu import computes_on_cpu
from inference.work import Sampling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inference.generation.seat import Seat

EMPTY_SHARE = 4
"""One empty place in so many makes it worth copying the others together."""
FIRST_LAYERS = 1
"""So many layers of a step are given to a processor at once: else it would be idle for 3 % of each step."""
NOBODY = Draw(Sampling(temperature=0), seed=0, place=0)
"""What is drawn for an empty place."""


class Made(NamedTuple):
    """A token that a row has said. `likeliest`: ids and log probabilities, when the row asked for them."""

    seat: Seat
    token: int
    logprob: float | None = None
    likeliest: tuple[tuple[int, float], ...] = ()


class Group(NamedTuple):
    """Rows that can decode now: their caches, plain if it is one, and the last tokens of their prompts. Those
    were read as well if there are `logits` [rows, vocabulary] of what follows them.
    """

    seats: list[Seat]
    caches: list[Any]
    last: list[int]
    logits: Any = None


class Took(NamedTuple):
    """How long a step of the rows took, from when the tokens before it were there until its own were, and how
    many tokens of prompts were read in it.
    """

    seconds: float
    read_tokens: int


class Batch:
    """Rows that decode. Per step: `dispatch`, `read`, `launch`."""

    def __init__(self, model: Any, *, most_padded_bytes: float = math.inf) -> None:
        self._model = model
        self._most_padded_bytes = most_padded_bytes
        self._places: list[Seat | None] = []
        self._caches: list[Any] = []  # plain ones while there is one place
        self._pending: Any = None  # uint32 [places]: drawn, not in the caches yet
        self._pending_odds = Odds()
        self._inputs: Any = None  # what was pending when the step was dispatched
        self._input_odds = Odds()
        self._was_forwarded = False
        self._begins_early = not computes_on_cpu()
        self._unlaunched: list[Any] = []
        self._under_way: int | None = None  # how many tokens of prompts the pending step reads, if it is one
        self._tells: int | None = None  # the same of the step to be read, if it can be told how long it took
        self._read_at = 0.0
        self.took: Took | None = None
        """The step that was read last; None if it cannot be told, or if what was read had come with rows."""

    @property
    def seats(self) -> list[Seat]:
        return [seat for seat in self._places if seat is not None]

    @property
    def width(self) -> int:
        """How many rows the model computes, empty places among them."""
        return len(self._places)

    @property
    def parts(self) -> tuple[tuple[int, int], ...]:
        """How many rows, empty places among them, are padded to how many tokens."""
        apart = next((cache.shape for cache in self._caches if isinstance(cache, RaggedCache)), None)
        longest = max((len(seat.tokens) for seat in self.seats), default=0)
        return apart or ((len(self._places), longest),)

    def join(self, groups: Sequence[Group]) -> None:
        """These rows decode from the next step on. Those that come alone are copied together once."""
        single = []
        for group in groups:
            if len(group.seats) == 1:
                single.append(group)
            else:
                self._join(group.caches, group)
        if len(single) == 1:
            self._join(single[0].caches, *single)
        elif single:
            layers = zip(*(group.caches for group in single), strict=True)
            self._join([self._joined(layer) for layer in layers], *single)

    def _join(self, caches: list[Any], *groups: Group) -> None:
        """`caches` are those of all groups."""
        self._close_ranks()
        seats = [seat for group in groups for seat in group.seats]
        if not self._places:
            self._caches = caches if len(seats) == 1 else self._joinable(caches, len(seats))
            self._pending, self._pending_odds, self._under_way = mx.array([], dtype=mx.uint32), Odds(), None
        else:
            if len(self._places) == 1:
                self._caches = self._joinable(self._caches, 1)
            for cache, other in zip(self._caches, self._joinable(caches, len(seats)), strict=True):
                cache.extend(other)
        self._places += seats
        for group in groups:
            tokens, odds = self._first_of(group)
            self._pending = mx.concatenate([self._pending, tokens])
            self._pending_odds += odds

    def _first_of(self, group: Group) -> tuple[Any, Odds]:
        """What is to be read next of its rows: of their prompts, or already of their answers."""
        last = mx.array(group.last, dtype=mx.uint32)
        if group.logits is None:
            return last, Odds()
        logits = processed(group.seats, group.logits, last)
        drawn = self._drawn(logits, [seat.draw(ahead=0) for seat in group.seats])
        for seat in group.seats:
            seat.has_begun = True
        return drawn, Odds.of(group.seats, logits, drawn)

    def _joined(self, caches: Sequence[Any]) -> Any:
        """One cache of a layer, of the plain ones of rows."""
        if type(caches[0]) is KVCache:
            return RaggedCache.of_rows(caches, most_bytes=self._most_padded_bytes)
        return caches[0].merge([*caches])

    def _joinable(self, caches: list[Any], rows: int) -> list[Any]:
        return joinable(caches, rows=rows, most_bytes=self._most_padded_bytes)

    def leave(self, seats: Sequence[Seat], *, free_memory: bool = False) -> None:
        """These rows decode no more. Their memory may stay in use for a while, unless it is wanted."""
        gone = set(map(id, seats))
        self._places = [None if id(seat) in gone else seat for seat in self._places]
        left = len(self.seats)
        if not left:
            self._places, self._caches, self._pending = [], [], None
        elif free_memory or self._has_many_empty_places or self._empty_places_lie_apart:
            self._close_ranks()

    @property
    def _has_many_empty_places(self) -> bool:
        return self._places.count(None) * EMPTY_SHARE >= len(self._places)

    @property
    def _empty_places_lie_apart(self) -> bool:
        """Whether the others need not be copied. A long row that has left would cost every step the most."""
        empty = {place for place, seat in enumerate(self._places) if seat is None}
        return all(isinstance(cache, RaggedCache) and cache.holds_apart(empty) for cache in self._caches)

    def extract(self, seat: Seat) -> list[Any]:
        """Plain caches of what the row's `tokens` are."""
        if len(self._places) == 1:
            return self._caches
        place = self._places.index(seat)
        return [cache.extract(place) for cache in self._caches]

    @property
    def goes_on(self) -> bool:
        """Whether any row wants a token behind the pending one."""
        return any(len(seat.row.said) + seat.has_begun < seat.row.max_tokens for seat in self.seats)

    def dispatch(self, chunks: Sequence[Chunk] = ()) -> None:
        """Make the step ready that follows the pending tokens; wait for nothing. With `chunks`, which are for
        a batch that goes on, prompts are read in the same pass of the model.
        """
        self._inputs, self._input_odds, before = self._pending, self._pending_odds, self._under_way
        self._was_forwarded = self.goes_on
        self._under_way = sum(len(chunk.tokens) for chunk in chunks) if self._was_forwarded else None
        # Meanwhile a GPU is given the next step. If only one of the two reads prompts, that tells of neither.
        tells = not self._begins_early or bool(before) == bool(self._under_way)
        self._tells = before if tells else None
        if not self._was_forwarded:
            return
        with read_beside(self._inputs[:, None], self._caches, chunks) as (tokens, caches):
            logits = self._model(tokens, cache=caches)
        self._draw(logits[: len(self._places), -1])
        held = [cache.state for chunk in chunks for cache in chunk.caches]
        self._unlaunched = [self._pending, *self._pending_odds.arrays, held]
        if self._begins_early:
            self.launch()
        elif len(self._caches) > FIRST_LAYERS:  # it has those to do while the last tokens are read and told
            mx.async_eval(self._caches[FIRST_LAYERS].state)

    def launch(self) -> None:
        """Let the device compute what was made ready."""
        arrays, self._unlaunched = self._unlaunched, []
        mx.async_eval(arrays)

    def _draw(self, logits: Any) -> None:
        """What the rows say next, by their `logits` [places, vocabulary]; nothing is computed yet."""
        logits = processed(self._places, logits, self._inputs)
        self._pending = self._drawn(logits, [seat.draw() if seat else NOBODY for seat in self._places])
        self._pending_odds = Odds.of(self._places, logits, self._pending)

    def _drawn(self, logits: Any, draws: Sequence[Draw]) -> Any:
        """One token for each row of `logits`, as uint32 [rows]."""
        return draw(logits, draws)

    def read(self) -> list[Made]:
        """The tokens that were pending when the step was dispatched, which are in the caches now."""
        made = []
        tokens, odds = self._inputs.tolist(), self._input_odds.read()
        before, self._read_at = self._read_at, time.monotonic()
        self.took = None if self._tells is None else Took(self._read_at - before, self._tells)
        for place, seat in enumerate(self._places):
            if seat is None:
                continue
            token = tokens[place]
            if self._was_forwarded:
                seat.tokens.append(token)
            if seat.has_begun:
                made.append(Made(seat, token, *odds.get(seat, ())))
            seat.has_begun = True
        return made

    @property
    def alone(self) -> Seat | None:
        """The row, if there is one only."""
        return self._places[0] if len(self._places) == 1 else None

    def peek(self) -> int:
        """The pending token of the row that is alone. Waits for it."""
        return int(self._pending.item())

    def can_leap(self, tokens: int) -> bool:
        """Whether the row that is alone could take back so many tokens."""
        return all(can_take_back(cache, tokens) for cache in self._caches)

    def leap(self, pending: int, guess: list[int]) -> list[Made]:
        """Instead of `dispatch` and `read`, for a row that is alone, whose logits nobody changes: its pending
        token and as many of the guessed ones behind it as it would have said.
        """
        seat = self.seats[0]
        logits = self._model(mx.array([[pending, *guess]]), cache=self._caches)[0]
        drawn = draw(logits, [seat.draw(ahead) for ahead in range(1, len(guess) + 2)])
        tokens: list[int] = drawn.tolist()
        right = next((place for place, token in enumerate(guess) if tokens[place] != token), len(guess))
        for cache in self._caches:
            if right < len(guess):
                cache.trim(len(guess) - right)
        said = [pending, *guess[:right]]
        seat.tokens += said
        self._pending, self._pending_odds = drawn[right : right + 1], Odds()
        self._under_way = self.took = None
        return [Made(seat, token) for token in said]

    def _close_ranks(self) -> None:
        """Copy the rows that are left together."""
        keep = [place for place, seat in enumerate(self._places) if seat is not None]
        if len(keep) == len(self._places):
            return
        if len(keep) == 1:
            self._caches = [cache.extract(keep[0]) for cache in self._caches]
        else:
            for cache in self._caches:
                cache.filter(keep)
        self._places = [self._places[place] for place in keep]
        self._pending = self._pending[mx.array(keep)]


def shared(caches: Sequence[list[Any]]) -> list[Any]:
    """One set of caches for the rows whose plain ones these are."""
    return [layer[0].merge([*layer]) for layer in zip(*caches, strict=True)]
