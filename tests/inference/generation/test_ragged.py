"""Rows of different lengths that are not padded to the longest one: every row says what it says alone.

The oracle is mlx_lm generating one answer at a time, greedily.
"""

from __future__ import annotations

import math
from itertools import cycle
from typing import Any

import mlx.core as mx
import pytest

from inference.cache.kept_state import can_batch, fresh_caches
from inference.cache.prompt_cache import Reuse
from inference.generation import part
from inference.generation.attention import most_bytes_for
from inference.generation.batch import Batch, Group
from inference.generation.passes import read_alone, read_together
from inference.generation.ragged import RaggedCache
from inference.generation.reading import Reading
from inference.generation.seat import Seat
from tests.inference.cache.test_prompt_cache import alone_cached, model_of, row, text
from tests.inference.families import FAMILIES

LENGTHS = (40, 3, 300, 1, 41, 120, 2, 290)
STEPS = 12
KEEP_TOKENS = [name for name in FAMILIES if name != "mamba"]


def joined(batch: Batch, family: str, length: int) -> Seat:
    """A row that has been read and decodes in the batch from now on."""
    model, prompt, caches = model_of(family), text(length, seed=length), fresh_caches(model_of(family))
    if length > 1:
        model(mx.array([prompt[:-1]]), cache=caches)
        mx.eval([cache.state for cache in caches])
    seat = Seat.of(row(prompt, max_tokens=100), known=0)
    seat.tokens = prompt[:-1]
    batch.join([Group([seat], caches, prompt[-1:])])
    return seat


@pytest.mark.parametrize("most_bytes", [0, 20_000], ids=["apart", "some together"])
@pytest.mark.parametrize("family", KEEP_TOKENS)
def test_rows_of_all_lengths_join_and_leave_and_say_what_they_say_alone(
    family: str, most_bytes: float
) -> None:
    assert can_batch(model_of(family))
    batch = Batch(model_of(family), most_padded_bytes=min(most_bytes, most_bytes_for(model_of(family))))
    said: dict[Seat, list[int]] = {}
    waiting = [*LENGTHS]
    while waiting or batch.seats:
        if waiting:
            said[joined(batch, family, waiting.pop(0))] = []
        batch.dispatch()
        for one in batch.read():
            said[one.seat].append(one.token)
        batch.leave([seat for seat in batch.seats if len(said[seat]) == STEPS])
    for seat, tokens in said.items():
        assert tokens == alone_cached(family, tuple(seat.row.prompt))


@pytest.mark.parametrize("family", KEEP_TOKENS)
def test_attention_of_every_family_is_computed_part_by_part(family: str) -> None:
    batch = Batch(model_of(family), most_padded_bytes=0)
    assert most_bytes_for(model_of(family)) < math.inf
    for length in (40, 300, 50):
        joined(batch, family, length)
    ragged: list[Any] = [cache for cache in batch._caches if isinstance(cache, RaggedCache)]
    assert ragged
    for cache in ragged:
        assert [keys.shape[0] for keys, _ in cache.state] == [1, 1, 1]


def test_rows_of_like_length_are_together_and_a_long_one_among_short_ones_apart() -> None:
    batch = Batch(model_of("llama"), most_padded_bytes=300_000)
    for length in (40, 36, 44, 300, 38):
        joined(batch, "llama", length)
    parts = [[keys.shape[0] for keys, _ in cache.state] for cache in batch._caches]
    assert parts == [[4, 1]] * len(parts)  # all five would fit
    batch = Batch(model_of("llama"), most_padded_bytes=300_000)
    for length in (290, 300, 270, 250):
        joined(batch, "llama", length)
    parts = [[keys.shape[0] for keys, _ in cache.state] for cache in batch._caches]
    assert parts == [[4]] * len(parts)


@pytest.mark.parametrize("lengths", [(200,), (200, 180, 190)])
def test_no_two_layers_grow_in_the_same_step(
    lengths: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To grow is to copy: all layers together would hold up the rows for as long as a step."""
    monkeypatch.setattr(part, "SHIFTS", cycle(range(0, part.GROWTH_TOKENS, 8)))  # two in many may meet
    model = model_of("llama")
    rows = [row(text(length, seed=length), max_tokens=999) for length in lengths]
    readings = [Reading.of(one, Reuse(), model) for one in rows]
    if len(readings) > 1:
        group = read_together(model, readings, keep=lambda *_: None)
    else:
        (reading,) = readings
        read_alone(model, reading, len(reading.unread))
        group = Group([reading.seat], reading.caches, [reading.last])
    batch = Batch(model)
    batch.join([group])
    growing = []
    for step in range(300):
        before = [*map(capacity, batch._caches)]
        batch.dispatch()
        batch.read()
        growing += [step for cache, held in zip(batch._caches, before, strict=True) if capacity(cache) > held]
    assert len(growing) == len(set(growing)) >= len(batch._caches)


def capacity(cache: Any) -> int:
    """How many tokens a layer's arrays have room for."""
    (holder,) = cache._parts if isinstance(cache, RaggedCache) else (cache,)
    return int(holder.keys.shape[2])


@pytest.mark.parametrize("family", ["llama", "qwen3_moe"])  # every layer keeps every token
def test_a_long_row_that_has_left_is_not_computed_any_more(family: str) -> None:
    batch = Batch(model_of(family), most_padded_bytes=min(20_000, most_bytes_for(model_of(family))))
    short = [joined(batch, family, length) for length in (3, 4, 5, 6)]
    long = joined(batch, family, 300)
    said: dict[Seat, list[int]] = {seat: [] for seat in (*short, long)}
    for step in range(STEPS):
        if step == 3:
            batch.leave([long])
            assert batch.width == len(short)
        batch.dispatch()
        for one in batch.read():
            said[one.seat].append(one.token)
    for seat in short:
        expected = alone_cached(family, tuple(seat.row.prompt))
        assert said[seat] == expected[: len(said[seat])]
        assert len(said[seat]) >= STEPS - 1
