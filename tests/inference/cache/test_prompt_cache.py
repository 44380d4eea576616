"""The prompt cache: nothing is read twice, and every answer is the one that reading it all would have given.

The oracle is mlx_lm generating one answer at a time, greedily, from nothing.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlx_lm.generate import generate_step

from inference.cache.kept_state import keeps_every_token
from inference.cache.prompt_cache import PromptCache
from inference.generation.head import draws_at_once
from inference.generation.pace import ON_CPU
from inference.generation.room import Limits
from inference.generation.scheduler import Scheduler
from inference.work import Row, Sampling
from tests.inference.families import FAMILIES, VOCABULARY, WINDOW, family_model

if TYPE_CHECKING:
    from collections.abc import Iterator

ANSWER_TOKENS = 12
LAST_TOKENS = 1  # the model is not asked what follows the last one, and so does not hold it
CHUNK_TOKENS = 16
PLENTY = 2**28
KEEPS_STATES = ["gemma3_text", "mamba", "lfm2", "qwen3_next"]

model_of = cache(family_model)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def scheduler(family: str) -> Iterator[Scheduler]:
    made = scheduler_of(family)
    yield made
    made.close()


def scheduler_of(family: str, *, max_bytes: int = PLENTY, max_rows: int = 4) -> Scheduler:
    model = model_of(family)
    kept = PromptCache(max_bytes=max_bytes, cuts_anywhere=keeps_every_token(model))
    chunks = ON_CPU.up_to(CHUNK_TOKENS)
    limits = Limits(max_rows=max_rows, chunks=chunks, draws_at_once=draws_at_once(model))
    return Scheduler(model, prompt_cache=kept, limits=limits)


def text(length: int, *, seed: int) -> list[int]:
    return [int(token) for token in np.random.default_rng(seed).integers(0, VOCABULARY, length)]


def row(prompt: list[int], **fields: Any) -> Row:
    chosen: dict[str, Any] = {"sampling": Sampling(temperature=0), "max_tokens": ANSWER_TOKENS, **fields}
    return Row(prompt=prompt, stop_tokens=(), deliver=lambda _: None, **chosen)


def alone(family: str, prompt: list[int], max_tokens: int = ANSWER_TOKENS) -> list[int]:
    steps = generate_step(mx.array(prompt), model_of(family), max_tokens=max_tokens)
    return [int(token) for token, _ in steps]


@cache
def alone_cached(family: str, prompt: tuple[int, ...]) -> list[int]:
    return alone(family, [*prompt])


def answers(scheduler: Scheduler, *rows: Row) -> list[list[int]]:
    for one in rows:
        scheduler.add(one)
    said: dict[Row, list[int]] = {one: [] for one in rows}
    while scheduler.has_work:
        for one, step in scheduler.step():
            assert step.error is None
            if step.token is not None:
                said[one].append(step.token.id)
    return list(said.values())


def answer(scheduler: Scheduler, prompt: list[int], **fields: Any) -> tuple[list[int], int]:
    """The answer's tokens, and how many of the prompt came from the cache."""
    asked = row(prompt, **fields)
    (said,) = answers(scheduler, asked)
    return said, asked.cached_tokens


@pytest.mark.parametrize("length", [20, WINDOW, 60])
def test_a_repeated_prompt_is_known_but_for_its_last_token(
    scheduler: Scheduler, family: str, length: int
) -> None:
    prompt = text(length, seed=1)
    expected = alone(family, prompt)
    assert answer(scheduler, prompt) == (expected, 0)
    assert answer(scheduler, prompt) == (expected, length - 1)
    assert answer(scheduler, prompt) == (expected, length - 1)


def test_a_conversation_that_goes_on_reads_only_what_is_new(scheduler: Scheduler, family: str) -> None:
    conversation = text(25, seed=2)
    for turn in range(4):
        expected = alone(family, conversation)
        said, cached = answer(scheduler, conversation)
        assert said == expected
        assert cached == (len(conversation) - 9 - LAST_TOKENS if turn else 0)
        conversation = [*conversation, *said, *text(9, seed=turn)]


def test_a_shared_beginning_is_read_once(scheduler: Scheduler, family: str) -> None:
    system = text(40, seed=3)
    prompts = [[*system, *text(20, seed=seed)] for seed in (4, 5, 6)]
    cached = []
    for prompt in prompts:
        said, known = answer(scheduler, prompt)
        assert said == alone(family, prompt)
        cached.append(known)
    # A model that cannot be rewound learns where prompts part when the second one comes.
    assert cached == ([0, 40, 40] if keeps_every_token(model_of(family)) else [0, 0, 40])


def test_rows_with_and_without_a_past_share_a_batch(scheduler: Scheduler, family: str) -> None:
    known = text(50, seed=7)
    answer(scheduler, known)
    prompts = [text(30, seed=8), [*known, *text(7, seed=9)], text(70, seed=10), known]
    rows = [row(prompt) for prompt in prompts]
    assert answers(scheduler, *rows) == [alone(family, prompt) for prompt in prompts]
    # The model that keeps every token knows the end of the prompt from its answer.
    assert [one.cached_tokens for one in rows] == [
        0,
        50 if keeps_every_token(model_of(family)) else 49,
        0,
        49,
    ]


def test_the_end_of_an_answer_is_part_of_what_is_known(scheduler: Scheduler, family: str) -> None:
    prompt = text(30, seed=11)
    said, _ = answer(scheduler, prompt)
    whole = [*prompt, *said]
    assert answer(scheduler, [*whole, 5]) == (alone(family, [*whole, 5]), len(whole) - LAST_TOKENS)


@pytest.mark.parametrize("family", ["llama", "qwen3_moe"], indirect=True)
def test_a_prompt_that_ends_within_a_known_one_is_known(scheduler: Scheduler, family: str) -> None:
    long = text(60, seed=12)
    answer(scheduler, long)
    assert answer(scheduler, long[:33]) == (alone(family, long[:33]), 32)


@pytest.mark.parametrize("family", ["llama", "qwen3_next"], indirect=True)
def test_the_same_prompt_many_times_at_once_is_read_once(scheduler: Scheduler, family: str) -> None:
    prompt = text(200, seed=13)
    rows = [row(prompt, choice=choice) for choice in range(4)]
    assert answers(scheduler, *rows) == [alone(family, prompt)] * 4
    assert [one.cached_tokens for one in rows] == [0, 199, 199, 199]


def test_a_row_that_leaves_while_it_reads_leaves_what_it_has_read() -> None:
    scheduler = scheduler_of("llama")
    prompt = text(300, seed=14)
    gone = row(prompt)
    scheduler.add(gone)
    scheduler.step()
    gone.cancelled = True
    scheduler.step()
    said, cached = answer(scheduler, prompt)
    assert said == alone("llama", prompt)
    assert CHUNK_TOKENS <= cached < 299
    scheduler.close()


@given(data=st.data())
@settings(max_examples=6, deadline=None)
@pytest.mark.parametrize("kept", [*KEEPS_STATES, "llama", "ministral3"])
def test_overlapping_conversations_stay_exact_while_old_ones_are_forgotten(
    kept: str, data: st.DataObject
) -> None:
    """Few tokens and pieces, so that conversations part, meet and end within each other all the time."""
    scheduler = scheduler_of(
        kept, max_bytes=data.draw(st.sampled_from([30_000, 100_000, PLENTY])), max_rows=3
    )
    pieces = [text(length, seed=length) for length in (1, 17, 23, 40)]
    piece = st.sampled_from(pieces)
    prompts = data.draw(st.lists(st.lists(piece, min_size=1, max_size=4), min_size=2, max_size=7))
    joined = [[token for part in parts for token in part] for parts in prompts]
    expected = [alone_cached(kept, tuple(prompt)) for prompt in joined]
    assert answers(scheduler, *map(row, joined)) == expected
    assert answers(scheduler, *map(row, joined)) == expected
    scheduler.close()


def test_penalties_count_the_completion_only_after_a_hit() -> None:
    sampling = Sampling(temperature=0, frequency_penalty=2, presence_penalty=2, repetition_penalty=1.3)
    scheduler = scheduler_of("llama")
    prompt = text(40, seed=15)
    fresh, none = answer(scheduler, prompt, sampling=sampling, max_tokens=30)
    again, cached = answer(scheduler, prompt, sampling=sampling, max_tokens=30)
    assert (again, none, cached) == (fresh, 0, 39)
    scheduler.close()


def test_a_seed_gives_the_same_answer_after_a_hit() -> None:
    scheduler = scheduler_of("llama")
    prompt = text(40, seed=16)
    sampling = Sampling(temperature=1, seed=5)
    fresh, _ = answer(scheduler, prompt, sampling=sampling)
    assert answer(scheduler, prompt, sampling=sampling) == (fresh, 39)
    scheduler.close()


def test_nothing_is_kept_when_it_may_hold_nothing() -> None:
    scheduler = scheduler_of("llama", max_bytes=0)
    prompt = text(40, seed=17)
    assert answer(scheduler, prompt) == answer(scheduler, prompt) == (alone("llama", prompt), 0)
    scheduler.close()
