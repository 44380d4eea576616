"""Rows that the model decodes together: one token for each of them per step, the next step begun before the
last one is read.

Imports mlx: loaded by the model process only, and everything here runs on the engine thread. The caches
are mlx-lm's for a row alone; several share one, in which those of like length are padded on the left
(see inference/ragged.py). To leave copies what others hold, so rows that have left stay as empty places until
they are many, or until another one joins.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import mlx.core as mx
from mlx_lm.models.cache import KVCache

from inference.beside import Chunk, read_beside
from inference.kept_state import can_take_back
from inference.ragged import RaggedCache, joinable
from inference.sampling import Draw, draw, logprobs_of, top_tokens
from inference.work import Sampling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inference.seat import Seat

EMPTY_SHARE = 4
"""One empty place in so many makes it worth copying the others together."""
NOBODY = Draw(Sampling(temperature=0), seed=0, place=0)
"""What is drawn for an empty place."""


class Made(NamedTuple):
    """A token that a row has said. `likeliest`: ids and log probabilities, when the row asked for them."""

    seat: Seat
    token: int
    logprob: float | None = None
    likeliest: tuple[tuple[int, float], ...] = ()


class Odds:
    """How likely tokens were, and which ones were likeliest, for the rows that asked."""

    def __init__(self, seats: Sequence[Seat] = (), *arrays: Any) -> None:
        self._seats = seats
        self.arrays = arrays  # log probabilities [rows], ids and log probabilities of the likeliest

    @classmethod
    def of(cls, places: Sequence[Seat | None], logits: Any, tokens: Any) -> Odds:
        """Of `tokens` [places], which were drawn from `logits` [places, vocabulary]."""
        asking = [place for place, seat in enumerate(places) if seat and seat.row.top_logprobs is not None]
        if not asking:
            return cls()
        seats = [seat for place in asking if (seat := places[place])]
        rows = mx.array(asking)
        logprobs = logprobs_of(logits[rows])
        chosen = mx.take_along_axis(logprobs, tokens[rows][:, None], axis=-1)[:, 0]
        most = max(seat.row.top_logprobs or 0 for seat in seats)
        return cls(seats, chosen, *(top_tokens(logprobs, most) if most else ()))

    def read(self) -> dict[Seat, tuple[float, tuple[tuple[int, float], ...]]]:
        if not self.arrays:
            return {}
        chosen, *likeliest = (array.tolist() for array in self.arrays)
        pairs = [tuple(zip(*row, strict=True)) for row in zip(*likeliest, strict=True)]
        return {
            seat: (chosen[place], pairs[place][: seat.row.top_logprobs] if pairs else ())
            for place, seat in enumerate(self._seats)
        }


class Batch:
    """Rows that decode. Per step: `dispatch`, then `read`."""

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

    def join(self, seats: Sequence[Seat], caches: list[Any], last: list[int]) -> None:
        """Rows whose prompts were read but for their `last` tokens: they decode from the next step on.

        `caches` are plain ones of one row, or shared ones of several.
        """
        self._close_ranks()
        tokens = mx.array(last, dtype=mx.uint32)
        if not self._places:
            self._caches = caches if len(seats) == 1 else self._joinable(caches, len(seats))
            self._places, self._pending, self._pending_odds = [*seats], tokens, Odds()
            return
        if len(self._places) == 1:
            self._caches = self._joinable(self._caches, 1)
        for cache, other in zip(self._caches, self._joinable(caches, len(seats)), strict=True):
            cache.extend(other)
        self._places += seats
        self._pending = mx.concatenate([self._pending, tokens])

    def join_all(self, groups: Sequence[tuple[Sequence[Seat], list[Any], list[int]]]) -> None:
        """The same for several groups of a row each: they are copied together once."""
        if len(groups) == 1:
            self.join(*groups[0])
        elif groups:
            seats, caches, last = zip(*groups, strict=True)
            joined = [self._joined(layer) for layer in zip(*caches, strict=True)]
            self.join(
                [seat for some in seats for seat in some], joined, [token for some in last for token in some]
            )

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
        elif free_memory or (len(self._places) - left) * EMPTY_SHARE >= len(self._places):
            self._close_ranks()

    def extract(self, seat: Seat) -> list[Any]:
        """Plain caches of what the row's `tokens` are."""
        if len(self._places) == 1:
            return self._caches
        place = self._places.index(seat)
        return [cache.extract(place) for cache in self._caches]

    @property
    def goes_on(self) -> bool:
        """Whether any row wants a token behind the pending one."""
        return not all(seat.has_begun and seat.row.max_tokens == 1 for seat in self.seats)

    def dispatch(self) -> None:
        """Let the device compute the tokens that follow the pending ones; wait for nothing."""
        self._begin_step()
        if self._was_forwarded:
            self._draw(self._model(self._inputs[:, None], cache=self._caches)[:, -1])
            mx.async_eval(self._pending, *self._pending_odds.arrays)

    def dispatch_beside(self, chunks: Sequence[Chunk]) -> None:
        """The same, with chunks of prompts in the pass of the model. Waits until they are read, so that it is
        known how long that takes. For a batch that goes on.
        """
        self._begin_step()
        with read_beside(self._inputs[:, None], self._caches, chunks) as (tokens, caches):
            logits = self._model(tokens, cache=caches)
        self._draw(logits[: len(self._places), -1])
        held = [cache.state for chunk in chunks for cache in chunk.caches]
        mx.eval(self._pending, *self._pending_odds.arrays, held)

    def _begin_step(self) -> None:
        self._inputs, self._input_odds = self._pending, self._pending_odds
        self._was_forwarded = self.goes_on

    def _draw(self, logits: Any) -> None:
        """What the rows say next, by their `logits` [places, vocabulary]; nothing is computed yet."""
        logits = self._processed(logits, self._inputs)
        self._pending = self._drawn(logits)
        self._pending_odds = Odds.of(self._places, logits, self._pending)

    def _drawn(self, logits: Any) -> Any:
        """What the rows say next, as uint32 [places]."""
        return draw(logits, [seat.draw() if seat else NOBODY for seat in self._places])

    def read(self) -> list[Made]:
        """The tokens that were pending when the step was dispatched, which are in the caches now."""
        made = []
        tokens, odds = self._inputs.tolist(), self._input_odds.read()
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
        seat = self._seat(0)
        logits = self._model(mx.array([[pending, *guess]]), cache=self._caches)[0]
        drawn = draw(logits, [seat.draw(ahead) for ahead in range(len(guess) + 1)])
        tokens: list[int] = drawn.tolist()
        right = next((place for place, token in enumerate(guess) if tokens[place] != token), len(guess))
        for cache in self._caches:
            if right < len(guess):
                cache.trim(len(guess) - right)
        said = [pending, *guess[:right]]
        seat.tokens += said
        self._pending, self._pending_odds = drawn[right : right + 1], Odds()
        return [Made(seat, token) for token in said]

    def _processed(self, logits: Any, inputs: Any) -> Any:
        """`logits` as the rows want them changed. Only those that want it are touched."""
        busy = [place for place, seat in enumerate(self._places) if seat is not None and not seat.is_plain]
        if not busy:
            return logits
        mx.async_eval(logits, inputs)  # a grammar has to know the token: meanwhile the device goes on
        rows = [
            self._seat(place).processed(logits[place : place + 1], inputs[place : place + 1])
            for place in busy
        ]
        if len(rows) == len(self._places):
            return mx.concatenate(rows)
        changed = logits + 0  # `logits` may still be read by those who asked for it
        changed[mx.array(busy)] = mx.concatenate(rows)
        return changed

    def _seat(self, place: int) -> Seat:
        seat = self._places[place]
        assert seat is not None  # noqa: S101
        return seat

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
