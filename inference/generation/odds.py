"""How likely the tokens were that rows have said, and which ones were likeliest.

Imports mlx: loaded by the model process only, and everything here runs on the engine thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlx.core as mx

from inference.generation.sampling import logprobs_of, top_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inference.generation.seat import Seat

    Likeliest = tuple[tuple[int, float], ...]  # ids and log probabilities


class Odds:
    """Of tokens that were drawn at the same time, for the rows that asked. Several can be added up."""

    def __init__(self, *parts: tuple[Sequence[Seat], Sequence[Any]]) -> None:
        self._parts = parts  # log probabilities [rows], ids and log probabilities of the likeliest

    def __add__(self, others: Odds) -> Odds:
        return Odds(*self._parts, *others._parts)

    @property
    def arrays(self) -> list[Any]:
        return [array for _, arrays in self._parts for array in arrays]

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
        return cls((seats, [chosen, *(top_tokens(logprobs, most) if most else ())]))

    def read(self) -> dict[Seat, tuple[float, Likeliest]]:
        found: dict[Seat, tuple[float, Likeliest]] = {}
        for seats, arrays in self._parts:
            chosen, *likeliest = (array.tolist() for array in arrays)
            pairs = [tuple(zip(*row, strict=True)) for row in zip(*likeliest, strict=True)]
            for place, seat in enumerate(seats):
                found[seat] = chosen[place], pairs[place][: seat.row.top_logprobs] if pairs else ()
        return found
