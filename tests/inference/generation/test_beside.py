"""Chunks of prompts in the pass of running rows: everybody says what they say alone.

The oracle is mlx_lm generating one answer at a time, greedily.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import pytest

from inference.cache.kept_state import fresh_caches, keeps_every_token
from inference.cache.prompt_cache import PromptCache
from inference.generation.attention import most_bytes_for
from inference.generation.beside import Chunk, read_beside, reads_beside
from inference.generation.pace import ON_CPU
from inference.generation.ragged import joinable
from inference.generation.room import Limits
from inference.generation.scheduler import Scheduler
from inference.work import Sampling
from tests.inference.cache.test_prompt_cache import ANSWER_TOKENS, alone_cached, model_of, row, text
from tests.inference.families import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inference.work import Row

ATTENTION_ONLY = ["llama", "qwen3_moe", "gemma3_text", "ministral3"]
LENGTHS = (12, 300, 3, 41, 1, 650, 120, 2)
CHUNK_TOKENS = 48


def scheduler_of(family: str, *, most_padded_bytes: float = math.inf) -> Scheduler:
    model = model_of(family)
    cache = PromptCache(max_bytes=2**26, cuts_anywhere=keeps_every_token(model))
    most = min(most_padded_bytes, most_bytes_for(model))
    return Scheduler(
        model, prompt_cache=cache, limits=Limits(16, ON_CPU.up_to(CHUNK_TOKENS), most, reads_beside(model))
    )


@pytest.fixture
def llama() -> Iterator[Scheduler]:
    made = scheduler_of("llama")
    yield made
    made.close()


def said(scheduler: Scheduler, rows: list[Row], *, steps_between: int) -> dict[Row, list[int]]:
    """What they say when one joins after the other."""
    tokens: dict[Row, list[int]] = {one: [] for one in rows}
    waiting, steps = [*rows], 0
    while waiting or scheduler.has_work:
        if waiting and steps % steps_between == 0:
            scheduler.add(waiting.pop(0))
        for one, step in scheduler.step():
            assert step.error is None
            if step.token is not None:
                tokens.setdefault(one, []).append(step.token.id)
        steps += 1
    return tokens


@pytest.mark.parametrize("family", FAMILIES)
def test_models_do_it_that_have_nothing_but_attention(family: str) -> None:
    assert reads_beside(model_of(family)) == (family in ATTENTION_ONLY)


@pytest.mark.parametrize("most_bytes", [0, math.inf], ids=["apart", "padded"])
@pytest.mark.parametrize("steps_between", [1, 4])
@pytest.mark.parametrize("family", ATTENTION_ONLY)
def test_prompts_that_come_while_others_decode_say_what_they_say_alone(
    family: str, steps_between: int, most_bytes: float
) -> None:
    scheduler = scheduler_of(family, most_padded_bytes=most_bytes)
    rows = [row(text(length, seed=length), max_tokens=ANSWER_TOKENS) for length in LENGTHS]
    for one, tokens in said(scheduler, rows, steps_between=steps_between).items():
        assert tokens == alone_cached(family, tuple(one.prompt))
    scheduler.close()


def test_a_prompt_is_read_on_behind_a_beginning_that_is_known(llama: Scheduler) -> None:
    beginning = text(300, seed=1)
    rows = [row(beginning), row(text(5, seed=2), max_tokens=60), row(beginning + text(500, seed=3))]
    tokens = said(llama, rows, steps_between=20)
    assert rows[2].cached_tokens == 300
    assert tokens[rows[2]] == alone_cached("llama", tuple(rows[2].prompt))


def test_rows_decode_in_every_step_in_which_a_long_prompt_is_read(llama: Scheduler) -> None:
    running = [row(text(5, seed=seed), max_tokens=1000) for seed in (1, 2)]
    for one in running:
        llama.add(one)
    while len(llama.step()) < len(running):
        pass
    long = row(text(600, seed=3), max_tokens=1)
    llama.add(long)
    steps = 0
    while long not in (told := [one for one, _ in llama.step()]):
        assert set(running) <= set(told)
        steps += 1
    assert steps >= 600 // CHUNK_TOKENS


def test_a_seeded_row_draws_the_same_beside_a_prompt_as_alone(llama: Scheduler) -> None:
    def seeded() -> Row:
        return row(text(20, seed=1), max_tokens=30, sampling=Sampling(temperature=0.9, seed=7))

    alone, beside = seeded(), seeded()
    expected = said(llama, [alone], steps_between=1)[alone]
    rows = [beside, row(text(400, seed=2)), row(text(200, seed=3))]
    assert said(llama, rows, steps_between=3)[beside] == expected


def test_a_prompt_whose_row_leaves_is_kept_as_far_as_it_was_read(llama: Scheduler) -> None:
    llama.add(row(text(5, seed=1), max_tokens=100))
    while not llama.step():
        pass
    prompt = text(800, seed=2)
    left = row(prompt)
    llama.add(left)
    for _ in range(8):
        llama.step()
    left.cancelled = True
    llama.step()
    again = row(prompt)
    assert said(llama, [again], steps_between=1)[again] == alone_cached("llama", tuple(prompt))
    assert 16 <= again.cached_tokens < 800


def test_logits_are_computed_for_the_rows_only() -> None:
    model = model_of("llama")
    assert reads_beside(model)
    caches = joinable(_read(model, [1, 2]), rows=1, most_bytes=0)
    chunk = Chunk([3, 4, 5], fresh_caches(model), 4)
    with read_beside(mx.array([[6]]), caches, [chunk]) as (tokens, joint):
        logits = model(tokens, cache=joint)
    assert tokens.shape == (4, 1)
    assert logits.shape[0] == 1


def _read(model: Any, tokens: list[int]) -> list[Any]:
    caches = fresh_caches(model)
    model(mx.array([tokens]), cache=caches)
    return caches
