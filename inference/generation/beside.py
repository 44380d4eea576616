"""Chunks of prompts that are read in the same pass of the model in which rows decode.

Imports mlx: loaded by the model process only, and everything here runs on the engine thread. Most of a step's
time goes into fetching weights, on a processor as on a GPU, so tokens that come along cost a fraction of what
a pass of their own does. To the model each token of a chunk is one more row of the batch. Only the caches
know that they follow each other, and compute attention as if each chunk were read alone. Whether a model's
code can work with that is tried once.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import mlx.core as mx
from mlx_lm.models.cache import KVCache, RotatingKVCache, make_prompt_cache

from inference.cache.kept_state import room_that_grows
from inference.generation.attention import teach
from inference.generation.head import Wanting, alike, teach_to_spare
from inference.generation.ragged import Pieces, joinable
from inference.hardware.on_cpu import attention as computed_attention

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

logger = logging.getLogger(__name__)

TRIAL_PROMPTS = [[5, 6, 7], [8, 9]]
TRIAL_CHUNK = [10, 11, 12, 13, 14] * 16
"""As long as those of clients: on a Linux CPU, what is computed of such for the first time waits half a
second for a compiler, and so would the rows.
"""


class Chunk(NamedTuple):
    """The next tokens of a prompt, the plain caches that hold those before them, and how many they are to
    hold in the end.
    """

    tokens: list[int]
    caches: list[Any]
    whole: int


class Masks(NamedTuple):
    """Which tokens the next ones may look at: those of the rows, and those of each chunk."""

    rows: Any
    chunks: list[Any]


class Joint:
    """In place of a layer's cache: the one of the rows, and behind it those of the chunks, token by token."""

    def __init__(self, cache: Any, chunks: list[tuple[Any, int]], *, rows: int, offset: Any) -> None:
        self.rows = rows
        self.offset = offset
        self._cache = cache
        self._chunks = []
        begin = rows
        for theirs, tokens in chunks:
            self._chunks.append((theirs, slice(begin, begin + tokens)))
            begin += tokens

    def make_mask(self, tokens: int, **options: Any) -> Masks:
        """Called by models, before `update_and_fetch`. Each token is a row: there is one of each."""
        of_chunks = {**options, "return_array": True} if mx.cuda.is_available() else options
        chunks = [cache.make_mask(part.stop - part.start, **of_chunks) for cache, part in self._chunks]
        return Masks(self._cache.make_mask(tokens, **options), chunks)

    def update_and_fetch(self, keys: Any, values: Any) -> tuple[Pieces, Pieces]:
        """Called by models: take in what all tokens have come to, and give what each may look at."""
        held = [self._cache.update_and_fetch(keys[: self.rows], values[: self.rows])]
        held += [
            cache.update_and_fetch(_turned(keys[part]), _turned(values[part])) for cache, part in self._chunks
        ]
        return Pieces(self, [keys for keys, _ in held]), Pieces(self, [values for _, values in held])

    def attend(self, queries: Any, keys: Pieces, values: Pieces, mask: Masks, **options: Any) -> Any:
        """Attention of the rows, and of each chunk."""
        options["cache"] = None
        first = keys.arrays[0]
        compute = first.cache.attend if isinstance(first, Pieces) else computed_attention
        found = [compute(queries[: self.rows], first, values.arrays[0], mask=mask.rows, **options)]
        parts = zip(self._chunks, keys.arrays[1:], values.arrays[1:], mask.chunks, strict=True)
        for (_, part), theirs, said, visible in parts:
            found.append(
                _turned(computed_attention(_turned(queries[part]), theirs, said, mask=visible, **options))
            )
        return mx.concatenate(found)


@contextmanager
def read_beside(tokens: Any, caches: list[Any], chunks: Sequence[Chunk]) -> Generator[tuple[Any, list[Any]]]:
    """What to give the model in place of `tokens` [rows, 1] and their `caches`. Its logits may have a row for
    every token; those of the chunks come last. Without chunks nothing changes.
    """
    if not chunks:
        yield tokens, caches
        return
    rows = tokens.shape[0]
    pieces = [mx.array(chunk.tokens, dtype=tokens.dtype)[:, None] for chunk in chunks]
    offset = _offsets(caches[0], chunks)
    with ExitStack() as stack:
        for chunk in chunks:
            stack.enter_context(room_that_grows(chunk.caches, len(chunk.tokens), whole=chunk.whole))
        joint = [
            Joint(
                cache,
                [(chunk.caches[layer], len(chunk.tokens)) for chunk in chunks],
                rows=rows,
                offset=offset,
            )
            for layer, cache in enumerate(caches)
        ]
        yield mx.concatenate([tokens, *pieces]), Wanting(joint, lambda hidden: hidden[:rows])


def reads_beside(model: Any) -> bool:
    """Whether chunks can be read in the pass of the rows: not by layers that look at neighbouring tokens by
    another way than attention, nor by code that wants caches of its own kind.
    """
    kinds = {type(cache) for cache in make_prompt_cache(model)}
    if not kinds <= {KVCache, RotatingKVCache}:
        return False
    teach(model)
    teach_to_spare(model)
    try:
        return _trial(model)
    except Exception as error:  # noqa: BLE001 -- whatever its code stumbles over
        logger.info("Prompts of this model are read apart from running rows: %s.", error)
        return False


def _trial(model: Any) -> bool:
    """Whether two rows and a chunk say in one pass what they say alone."""
    *before, last = TRIAL_CHUNK
    half = len(before) // 2
    chunk = Chunk(before[half:], make_prompt_cache(model), len(before))
    model(mx.array([before[:half]]), cache=chunk.caches)
    batch: list[Any] = []
    for prompt in TRIAL_PROMPTS:
        caches = make_prompt_cache(model)
        model(mx.array([prompt[:-1]]), cache=caches)
        theirs = joinable(caches, rows=1, most_bytes=0)
        for cache, other in zip(batch, theirs, strict=False):
            cache.extend(other)
        batch = batch or theirs
    tokens = mx.array([[prompt[-1]] for prompt in TRIAL_PROMPTS])
    with read_beside(tokens, batch, [chunk]) as (given, joint):
        logits = model(given, cache=joint)
    found = [*logits[: len(TRIAL_PROMPTS), -1], model(mx.array([[last]]), cache=chunk.caches)[0, -1]]
    expected = [model(mx.array([tokens]))[0, -1] for tokens in (*TRIAL_PROMPTS, TRIAL_CHUNK)]
    return all(map(alike, found, expected))


def _offsets(cache: Any, chunks: Sequence[Chunk]) -> Any:
    """At which place of its own text each token is, int32 [rows + tokens]."""
    rows = cache.offset if isinstance(cache.offset, mx.array) else mx.array([cache.offset])
    places = [
        place
        for chunk in chunks
        for place in range(chunk.caches[0].offset, chunk.caches[0].offset + len(chunk.tokens))
    ]
    return mx.concatenate([rows.astype(mx.int32), mx.array(places, dtype=mx.int32)])


def _turned(array: Any) -> Any:
    """Between [tokens, heads, 1, dimensions] and [1, heads, tokens, dimensions]."""
    return array.transpose(2, 1, 0, 3)
