"""Keys and values of rows that decode together and are of different lengths.

Imports mlx: loaded by the model process only, and everything here runs on the engine thread. mlx-lm pads all
rows of a batch to the longest one: to join copies what all rows hold, and every step reads the padding again.
Here rows of like length share an array, and the others have arrays of their own. All rows still go through
the weights together; only attention, which has no weights, is computed array by array. So a long row
joins short ones without a copy, and costs them nothing later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import mlx.core as mx
from mlx_lm.models.base import create_causal_mask
from mlx_lm.models.cache import BatchKVCache, KVCache

from inference.generation.part import Part, choice
from inference.hardware.on_cpu import attention as computed_attention

if TYPE_CHECKING:
    from collections.abc import Sequence


MOST_EMPTY = 4
"""What joining parts makes of empty places takes no more than one in so many of the bytes that they may take:
each step reads it, and a long row would fill most of an array with them."""


class Masks:
    """Which tokens the next ones may look at, for each part. Made once per pass, for all layers."""

    def __init__(self, tokens: int, window: int | None) -> None:
        self._tokens = tokens
        self._window = window
        self._made: dict[tuple[int, ...], Any] = {}

    def of(self, part: Part) -> Any:
        """When the part has the tokens already; None when they may look at everything."""
        return self.behind(part, part.length - self._tokens)

    def behind(self, part: Part, length: int) -> Any:
        """For the tokens behind the first `length`."""
        if self._tokens == 1 and self._window is None and not any(part.padding):
            return None
        key = (length, *part.padding)
        if key not in self._made:
            padding = mx.array(part.padding)
            self._made[key] = create_causal_mask(
                self._tokens, offset=length, left_padding=padding, window_size=self._window
            )
        return self._made[key]


class Pieces(NamedTuple):
    """In place of an array of all rows: those of the parts of `cache`, which computes attention over them."""

    cache: Any
    arrays: list[Any]


class RaggedCache:
    """In place of mlx-lm's BatchKVCache. Parts are joined as long as they take no more than `most_bytes`."""

    def __init__(self, parts: list[Part], *, most_bytes: float) -> None:
        self._most_bytes = most_bytes
        self._parts = parts
        self._settle()

    @classmethod
    def of(cls, cache: Any, *, most_bytes: float) -> RaggedCache:
        """What one row, or several that were read together, bring along."""
        if type(cache) is KVCache:
            length, padding = cache.offset, [0]
        else:
            length, padding = cache._idx, cache.left_padding.tolist()
        places = [*range(len(padding))]
        part = Part(cache.keys, cache.values, padding=padding, length=length, places=places)
        return cls([part], most_bytes=most_bytes)

    @classmethod
    def of_rows(cls, caches: Sequence[KVCache], *, most_bytes: float) -> RaggedCache:
        """What several rows, each with a cache of its own, bring along."""
        parts = [
            Part(cache.keys, cache.values, padding=[0], length=cache.offset, places=[place])
            for place, cache in enumerate(caches)
        ]
        return cls(parts, most_bytes=most_bytes)

    @property
    def shape(self) -> tuple[tuple[int, int], ...]:
        """Of each part: how many rows are padded to how many tokens."""
        return tuple((len(part.places), part.length) for part in self._parts)

    @property
    def offset(self) -> Any:
        """How many tokens each row holds, int32 [rows]."""
        offsets = [0] * sum(len(part.places) for part in self._parts)
        for part in self._parts:
            for place, padding in zip(part.places, part.padding, strict=True):
                offsets[place] = part.length - padding
        return mx.array(offsets)

    @property
    def state(self) -> list[tuple[Any, Any]]:
        return [(part.keys, part.values) for part in self._parts]

    def make_mask(self, tokens: int, *, return_array: bool = False, window_size: int | None = None) -> Any:
        """Called by models, before `update_and_fetch`."""
        masks = Masks(tokens, window_size)
        if len(self._parts) > 1:
            return masks
        (part,) = self._parts
        mask = masks.behind(part, part.length)
        if mask is None and return_array:
            return mx.ones((tokens, part.length + tokens), dtype=mx.bool_)
        return mask

    def update_and_fetch(self, keys: Any, values: Any) -> tuple[Any, Any]:
        """Called by models: take in what all rows have come to, and give what they hold."""
        for part, chosen in zip(self._parts, self._chosen, strict=True):
            whole = len(self._parts) == 1
            part.append(keys if whole else keys[chosen], values if whole else values[chosen])
        return self.keys_and_values()

    def keys_and_values(self) -> tuple[Any, Any]:
        """Called by models: an array each, or in their places what `attention` understands."""
        keys = [part.keys[..., : part.length, :] for part in self._parts]
        values = [part.values[..., : part.length, :] for part in self._parts]
        if len(self._parts) == 1:
            return keys[0], values[0]
        return Pieces(self, keys), Pieces(self, values)

    def attend(self, queries: Any, keys: Pieces, values: Pieces, mask: Masks, **options: Any) -> Any:
        """Attention of all rows, part by part."""
        options["cache"] = None  # they are plain arrays
        parts = zip(self._parts, self._chosen, keys.arrays, values.arrays, strict=True)
        found = [
            computed_attention(queries[chosen], theirs, said, mask=mask.of(part), **options)
            for part, chosen, theirs, said in parts
        ]
        together = mx.concatenate(found)
        return together if self._order is None else together[self._order]

    def extend(self, other: RaggedCache) -> None:
        """The rows of the other one come behind those of this one."""
        width = sum(len(part.places) for part in self._parts)
        for part in other._parts:
            part.places = [width + place for place in part.places]
        self._parts += other._parts
        self._settle()

    def filter(self, keep: list[int]) -> None:
        """Only the rows of these places, which are in ascending order."""
        places = {place: number for number, place in enumerate(keep)}
        self._parts = [part for part in self._parts if part.keep(places)]
        self._settle()

    def holds_apart(self, places: set[int]) -> bool:
        """Whether no other row shares an array with those of `places`."""
        return all(places.issuperset(part.places) or places.isdisjoint(part.places) for part in self._parts)

    def extract(self, place: int) -> KVCache:
        """A cache of one row alone."""
        part = next(part for part in self._parts if place in part.places)
        return part.extract(part.places.index(place))

    def _settle(self) -> None:
        """Join parts that are small together, those of like length first."""
        groups: list[list[Part]] = []
        for part in sorted(self._parts, key=lambda part: part.length):
            if groups and self._are_small([*groups[-1], part]):
                groups[-1].append(part)
            else:
                groups.append([part])
        self._parts = [Part.joined(group) for group in groups]
        self._chosen = [choice(part.places) for part in self._parts]
        places = [place for part in self._parts for place in part.places]
        order = sorted(range(len(places)), key=places.__getitem__)
        self._order = None if places == order == [*range(len(places))] else mx.array(order)

    def _are_small(self, parts: list[Part]) -> bool:
        longest = max(part.length for part in parts)
        slots = longest * sum(len(part.places) for part in parts)
        empty = slots - sum(part.length * len(part.places) for part in parts)
        slot_bytes = max(part.slot_bytes for part in parts)
        return max(slots, empty * MOST_EMPTY) * slot_bytes <= self._most_bytes


def joinable(caches: Sequence[Any], *, rows: int, most_bytes: float) -> list[Any]:
    """Caches of one row, or of several that were read together, in the form that others can join."""
    return [_joinable(cache, rows=rows, most_bytes=most_bytes) for cache in caches]


def _joinable(cache: Any, *, rows: int, most_bytes: float) -> Any:
    if type(cache) in (KVCache, BatchKVCache):
        return RaggedCache.of(cache, most_bytes=most_bytes)
    return cache.merge([cache]) if rows == 1 else cache
