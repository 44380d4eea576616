"""What a model knows of tokens that it has read, taken out of mlx-lm's caches and put back.

Imports mlx: loaded by the model process only. Plain attention keeps keys and values of every token: such a
layer can be cut anywhere, so its part is a Span, which belongs to a run of tokens. Sliding windows and
recurrent layers keep a state that is right after one token only and cannot be rewound: their part is a State,
which belongs to a place between two tokens.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mlx.core as mx
from mlx.utils import tree_flatten, tree_map
from mlx_lm.models.cache import BatchKVCache, KVCache, RotatingKVCache, make_prompt_cache

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

IGNORE_PADDING = frozenset({"baichuan_m1", "longcat_flash_ngram", "mamba", "recurrent_gemma", "rwkv7"})
"""Modules of mlx-lm 0.32 whose recurrent layers take padding for tokens."""
TOKEN_AXIS = 2  # keys and values are [1, heads, tokens, dimensions]


@dataclass(frozen=True, slots=True)
class Span:
    """Keys and values of a run of tokens: for each layer that keeps every token its number and the two."""

    layers: tuple[tuple[int, Any, Any], ...]

    @classmethod
    def taken_from(cls, caches: Sequence[Any], *, start: int) -> Span:
        """What `caches` hold of the tokens from `start` on. Nothing is computed yet."""
        kept = [(layer, cache) for layer, cache in enumerate(caches) if _keeps_tokens(cache)]
        layers = [
            (layer, cache.keys[..., start : cache.offset, :], cache.values[..., start : cache.offset, :])
            for layer, cache in kept
        ]
        return cls(tuple(layers)).copied()

    @property
    def nbytes(self) -> int:
        return sum(keys.nbytes + values.nbytes for _, keys, values in self.layers)

    def arrays(self) -> list[Any]:
        return [array for _, *pair in self.layers for array in pair]

    def split(self, place: int) -> tuple[Span, Span]:
        """The first `place` tokens and the others, each with memory of its own."""
        first = tuple(
            (layer, keys[..., :place, :], values[..., :place, :]) for layer, keys, values in self.layers
        )
        rest = tuple(
            (layer, keys[..., place:, :], values[..., place:, :]) for layer, keys, values in self.layers
        )
        return Span(first).copied(), Span(rest).copied()

    def copied(self) -> Span:
        """The same without the rest of the arrays that it is a view of."""
        return Span(
            tuple((layer, mx.contiguous(keys), mx.contiguous(values)) for layer, keys, values in self.layers)
        )


@dataclass(frozen=True, slots=True)
class State:
    """The layers that keep no single tokens, as caches of mlx-lm: numbers of the layers and their caches."""

    layers: tuple[tuple[int, Any], ...]

    @classmethod
    def taken_from(cls, caches: Sequence[Any]) -> State | None:
        """None when every layer of the model keeps every token."""
        layers = tuple((layer, cache) for layer, cache in enumerate(caches) if not _keeps_tokens(cache))
        return cls(layers).copied() if layers else None

    def copied(self) -> State:
        """The same, with caches of its own."""
        return State(
            tuple(
                (layer, type(cache).from_state(tree_map(_copied, cache.state)))
                for layer, cache in self.layers
            )
        )

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays())

    def arrays(self) -> list[Any]:
        leaves: Any = tree_flatten([cache.state for _, cache in self.layers])
        return [leaf for _, leaf in leaves if isinstance(leaf, mx.array)]


def keeps_every_token(model: Any) -> bool:
    """Whether what the model has read can be cut after any token."""
    return all(_keeps_tokens(cache) for cache in make_prompt_cache(model))


def fresh_caches(model: Any) -> list[Any]:
    """Empty caches of one row."""
    return list(make_prompt_cache(model))


def can_batch(model: Any) -> bool:
    """Whether rows can share a pass of the model: mlx-lm cannot merge the caches of a few architectures."""
    return all(hasattr(cache, "merge") for cache in make_prompt_cache(model))


def reads_alone(model: Any) -> bool:
    """Whether prompts of different lengths must not be read together, because the shorter would come out
    wrong.
    """
    return type(model).__module__.rpartition(".")[2] in IGNORE_PADDING


def can_take_back(cache: Any, tokens: int) -> bool:
    """Whether so many tokens could be read into a cache of one row and be forgotten again."""
    if isinstance(cache, RotatingKVCache):
        return bool(cache.offset + tokens < cache.max_size)
    return _keeps_tokens(cache)


def take_back(caches: Sequence[Any], length: int) -> bool:
    """Forget what a row's `caches` hold behind its first `length` tokens. Whether that can be done."""
    if not all(map(_keeps_tokens, caches)):
        return False
    for cache in caches:
        cache.trim(cache.offset - length)
    return True


def caches_of(spans: Sequence[Span], state: State | None, *, length: int) -> list[Any]:
    """Caches of mlx-lm that hold the first `length` tokens of `spans` and the state that they lead to.

    They are the caller's: to write into them leaves the spans and the state as they are.
    """
    caches: dict[int, Any] = {} if state is None else dict(state.copied().layers)
    for parts in zip(*(span.layers for span in spans), strict=True):
        layer = parts[0][0]
        keys = mx.concatenate([keys for _, keys, _ in parts], axis=TOKEN_AXIS)
        values = mx.concatenate([values for _, _, values in parts], axis=TOKEN_AXIS)
        caches[layer] = KVCache.from_state((keys[..., :length, :], values[..., :length, :], length))
    return [caches[layer] for layer in sorted(caches)]


@contextmanager
def room_for(caches: Sequence[Any], tokens: int) -> Generator[None]:
    """Within it, arrays that become too short grow by so many tokens at once: growing copies them. Some
    become longer than others, lest all have to grow again in the same step.
    """
    plain = [cache for cache in caches if type(cache) in (KVCache, BatchKVCache)]
    for place, cache in enumerate(plain):
        cache.step = -(-tokens // KVCache.step) * KVCache.step + place * KVCache.step // len(plain)
    try:
        yield
    finally:
        for cache in plain:
            del cache.step


@contextmanager
def room_that_grows(caches: Sequence[Any], tokens: int, *, whole: int) -> Generator[None]:
    """Within it, arrays that are too short for so many more tokens grow, to hold `whole` of them at the most.

    Each becomes twice as long, and no two layers at the same time: to fetch memory for a long prompt at once
    takes as long as a step of the rows that wait meanwhile.
    """
    growing = []
    for layer, cache in enumerate(caches):
        held = 0 if cache.keys is None else cache.keys.shape[TOKEN_AXIS]
        if not _keeps_tokens(cache) or cache.offset + tokens <= held:
            continue
        room = KVCache.step * (1 + layer / len(caches))
        while room < cache.offset + tokens:
            room *= 2
        if held:  # mlx-lm's caches grow behind what they hold, and not behind all that they have
            cache.keys, cache.values = (one[..., : cache.offset, :] for one in (cache.keys, cache.values))
        cache.step = max(min(int(room), whole) - cache.offset, tokens)
        growing.append(cache)
    try:
        yield
    finally:
        for cache in growing:
            del cache.step


def _keeps_tokens(cache: Any) -> bool:
    return type(cache) is KVCache  # some of its subclasses drop tokens


def _copied(leaf: Any) -> Any:
    return mx.contiguous(leaf) if isinstance(leaf, mx.array) else leaf
