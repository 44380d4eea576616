"""The prompt cache's books: what is held once is counted once, and never more than allowed is held."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.models.cache import ArraysCache, KVCache

from inference.cache.prompt_cache import PromptCache

if TYPE_CHECKING:
    from collections.abc import Iterable

HEADS, DIMENSIONS, FLOAT32_BYTES = 8, 64, 4
TOKEN_BYTES = 4 + 2 * HEADS * DIMENSIONS * FLOAT32_BYTES  # its id, keys and values
STATE_BYTES = 16384 * FLOAT32_BYTES


def attention(tokens: list[int]) -> KVCache:
    """Keys and values that tell which token they belong to."""
    row = mx.array(tokens, dtype=mx.float32)[None, None, :, None]
    keys = mx.broadcast_to(row, (1, HEADS, len(tokens), DIMENSIONS))
    made = KVCache()
    made.state = (keys, -keys, len(tokens))
    return made


def recurrence() -> ArraysCache:
    made = ArraysCache(1)
    made[0] = mx.zeros((1, 16384))
    return made


def keys_of(caches: list[Any]) -> list[int]:
    keys, _ = caches[0].keys_and_values()
    return [int(key) for key in keys[0, 0, :, 0].tolist()]


def numbers(*ranges: Iterable[int]) -> list[int]:
    return [number for one in ranges for number in one]


def test_what_sequences_share_is_counted_once() -> None:
    cache = PromptCache(max_bytes=10**6, cuts_anywhere=True)
    for end in (range(100, 110), range(200, 220), range(300, 330)):
        tokens = numbers(range(50), end)
        cache.store(tokens, [attention(tokens)])
    assert cache.nbytes == (50 + 10 + 20 + 30) * TOKEN_BYTES


def test_what_is_fetched_belongs_to_the_tokens_asked_for() -> None:
    cache = PromptCache(max_bytes=10**6, cuts_anywhere=True)
    for end in (range(100, 120), range(200, 220)):
        tokens = numbers(range(50), end)
        cache.store(tokens, [attention(tokens)])
    reuse = cache.fetch(numbers(range(50), range(100, 110), [7, 8]))
    assert reuse.caches is not None
    assert keys_of(reuse.caches) == numbers(range(50), range(100, 110))


def test_storing_the_same_again_costs_nothing() -> None:
    cache = PromptCache(max_bytes=10**6, cuts_anywhere=True)
    tokens = numbers(range(50))
    for length in (50, 50, 30, 20):
        cache.store(tokens[:length], [attention(tokens[:length])])
    assert cache.nbytes == 50 * TOKEN_BYTES


def test_the_least_recently_used_goes_first() -> None:
    cache = PromptCache(max_bytes=100 * TOKEN_BYTES, cuts_anywhere=True)
    first, second, third = (list(range(start, start + 40)) for start in (100, 200, 300))
    cache.store(first, [attention(first)])
    cache.store(second, [attention(second)])
    assert cache.fetch([*first, 1]).length == 40
    cache.store(third, [attention(third)])
    assert [cache.fetch([*tokens, 1]).length for tokens in (first, second, third)] == [40, 0, 40]


def test_a_shared_beginning_outlives_what_follows_it() -> None:
    cache = PromptCache(max_bytes=100 * TOKEN_BYTES, cuts_anywhere=True)
    for start in range(100, 1000, 20):
        tokens = numbers(range(50), range(start, start + 20))
        cache.store(tokens, [attention(tokens)])
    assert cache.fetch(numbers(range(50), [7])).length == 50
    assert cache.nbytes <= 100 * TOKEN_BYTES


def test_what_is_larger_than_everything_allowed_is_not_kept() -> None:
    cache = PromptCache(max_bytes=30 * TOKEN_BYTES, cuts_anywhere=True)
    small, large = list(range(20)), list(range(100, 140))
    cache.store(small, [attention(small)])
    cache.store(large, [attention(large)])
    assert [cache.fetch([*tokens, 1]).length for tokens in (small, large)] == [20, 0]


def test_a_state_can_only_be_gone_on_from_where_it_was_kept() -> None:
    cache = PromptCache(max_bytes=10**6, cuts_anywhere=False)
    tokens = list(range(60))
    cache.store(tokens, [attention(tokens), recurrence()])
    assert cache.fetch([*tokens, 1]).length == 60
    parted = cache.fetch([*tokens[:40], 7, 8])
    assert (parted.length, parted.parting) == (0, 40)
    cache.store(tokens[:40], [attention(tokens[:40]), recurrence()])
    assert cache.fetch([*tokens[:40], 7, 8]).length == 40
    assert cache.nbytes == 60 * TOKEN_BYTES + 2 * STATE_BYTES


def settled_memory() -> int:
    """Bytes in arrays that somebody still holds, without what only waits for the collector."""
    gc.collect()
    mx.synchronize()
    mx.clear_cache()
    return mx.get_active_memory()


@pytest.mark.parametrize("cuts_anywhere", [True, False])
def test_memory_stays_bounded_however_much_comes_and_goes(cuts_anywhere: bool) -> None:  # noqa: FBT001 -- pytest's
    random = np.random.default_rng(1)
    most = 200 * TOKEN_BYTES + 4 * STATE_BYTES
    cache = PromptCache(max_bytes=most, cuts_anywhere=cuts_anywhere)
    before = settled_memory()
    for _ in range(1500):
        tokens = [int(token) for token in random.integers(0, 2, random.integers(1, 90))]
        cache.store(tokens, [attention(tokens)] if cuts_anywhere else [attention(tokens), recurrence()])
        cache.fetch([*tokens, 1])
        assert cache.nbytes <= most
    held = settled_memory() - before
    # Each array takes a little more than its bytes, and no node is smaller than its one or two arrays.
    assert held <= 2 * most
    cache.clear()
    assert cache.nbytes == 0
    assert settled_memory() - before < most / 10


def test_nothing_remains_when_everything_was_pushed_out() -> None:
    cache = PromptCache(max_bytes=60 * TOKEN_BYTES + STATE_BYTES, cuts_anywhere=False)
    one = list(range(50))
    cache.store(one, [attention(one), recurrence()])
    cache.store(one[:20], [attention(one[:20]), recurrence()])
    other = list(range(100, 155))
    cache.store(other, [attention(other), recurrence()])
    assert len(cache) == 1
    assert cache.nbytes == 55 * TOKEN_BYTES + STATE_BYTES
