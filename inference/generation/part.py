"""Keys and values of rows of like length, which share two arrays.

Imports mlx: loaded by the model process only, and everything here runs on the engine thread.
"""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Any

import mlx.core as mx
from mlx_lm.models.cache import KVCache

if TYPE_CHECKING:
    from collections.abc import Sequence

GROWTH_TOKENS = 256
"""How much longer an array becomes when it is full."""
SHIFTS = cycle(range(0, GROWTH_TOKENS, 8))
"""Where that is, differs from part to part: to grow is to copy, and all layers of a model in the same step
would hold up its rows.
"""
TOKENS_AXIS = 2


class Part:
    """Rows that share arrays [rows, heads, tokens, dimensions], padded on the left to `length`.

    `places` are those of the rows in the batch.
    """

    def __init__(self, keys: Any, values: Any, *, padding: list[int], length: int, places: list[int]) -> None:
        self.keys, self.values = keys, values
        self.padding = padding
        self.length = length
        self.places = places
        self._shift = next(SHIFTS)

    @classmethod
    def joined(cls, parts: Sequence[Part]) -> Part:
        """One of all their rows, in the order of their places."""
        if len(parts) == 1:
            return parts[0]
        length = max(part.length for part in parts)
        rows = sorted(
            (place, padding + length - part.length)
            for part in parts
            for place, padding in zip(part.places, part.padding, strict=True)
        )
        places = [place for place, _ in rows]
        where = [choice([places.index(place) for place in part.places]) for part in parts]
        held = [(one, part) for one, part in zip(where, parts, strict=True) if part.length]
        whole = cls(None, None, padding=[padding for _, padding in rows], length=length, places=places)
        whole.keys = whole._together([(one, part.keys[..., : part.length, :]) for one, part in held])
        whole.values = whole._together([(one, part.values[..., : part.length, :]) for one, part in held])
        return whole

    @property
    def slot_bytes(self) -> int:
        """What a token of a row takes; 0 as long as there was none."""
        if self.keys is None:
            return 0
        rows, _, tokens, _ = self.keys.shape
        return int((self.keys.nbytes + self.values.nbytes) // (rows * tokens))

    def append(self, keys: Any, values: Any) -> None:
        """The next tokens of all rows."""
        begin, self.length = self.length, self.length + keys.shape[TOKENS_AXIS]
        self.keys, self.values = (
            self._with_room(held, begin, new) for held, new in ((self.keys, keys), (self.values, values))
        )
        self.keys[..., begin : self.length, :] = keys
        self.values[..., begin : self.length, :] = values

    def keep(self, places: dict[int, int]) -> bool:
        """Only the rows of these places, which become others. Whether any is left."""
        rows = [row for row, place in enumerate(self.places) if place in places]
        changes = len(rows) < len(self.places)
        self.places = [places[self.places[row]] for row in rows]
        needless = 0
        if rows and changes:
            padding = [self.padding[row] for row in rows]
            needless = min(padding)
            self.padding = [more - needless for more in padding]
            self.length -= needless
        if rows and changes and self.keys is not None:
            chosen = choice(rows)
            self.keys = self.keys[chosen][..., needless:, :]
            self.values = self.values[chosen][..., needless:, :]
        return bool(rows)

    def extract(self, row: int) -> KVCache:
        """A cache of one of its rows alone."""
        begin, cache = self.padding[row], KVCache()
        if self.keys is None or (len(self.places) == 1 and not begin):
            cache.keys, cache.values = self.keys, self.values
        else:
            cache.keys, cache.values = (
                mx.contiguous(array[row : row + 1, :, begin : self.length])
                for array in (self.keys, self.values)
            )
        cache.offset = self.length - begin
        return cache

    def _together(self, pieces: list[tuple[Any, Any]]) -> Any:
        """One array of all rows, with their ends where the tokens end, and with room for more."""
        if not pieces:
            return None
        first = pieces[0][1]
        _, heads, _, width = first.shape
        whole = mx.zeros((len(self.places), heads, self._capacity(self.length + 1), width), dtype=first.dtype)
        for chosen, array in pieces:
            whole[chosen, :, self.length - array.shape[TOKENS_AXIS] : self.length] = array
        return whole

    def _capacity(self, tokens: int) -> int:
        return -(-(tokens + self._shift) // GROWTH_TOKENS) * GROWTH_TOKENS - self._shift

    def _with_room(self, held: Any, length: int, new: Any) -> Any:
        """What is `held` of `length` tokens, with room for the `new` ones behind them."""
        rows, heads, tokens, width = new.shape
        needed = length + tokens
        if held is not None and needed <= held.shape[TOKENS_AXIS]:
            return held
        more = mx.zeros((rows, heads, self._capacity(needed) - length, width), dtype=new.dtype)
        return more if held is None else mx.concatenate([held[..., :length, :], more], axis=TOKENS_AXIS)


def choice(numbers: list[int]) -> Any:
    """An index that takes these of an axis, in ascending order."""
    first, last = numbers[0], numbers[-1]
    return slice(first, last + 1) if last - first + 1 == len(numbers) else mx.array(numbers)
