"""How much may wait: what can begin at once does not, and what can never be taken is refused for good."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from inference.errors import EngineOverloaded, TooManyAnswers
from inference.generation.room import HEADROOM_TOKENS, Room
from inference.hardware.memory import KvCost
from inference.work import EmbeddingJob
from tests.inference.cache.test_prompt_cache import row, text
from tests.inference.hardware.test_memory import scheduler_within
from tests.inference.test_engine import TROUBLE, engine_of, last, make_row
from tests.inference.tiny_models import tiny_model

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


async def test_more_than_can_run_and_wait_is_refused_whole(demo_tokenizer: PreTrainedTokenizerFast) -> None:
    async with engine_of(demo_tokenizer) as engine:
        with pytest.raises(TooManyAnswers, match="takes 8 at the most"):
            engine.submit([make_row([1])[0] for _ in range(9)])
        assert not engine.backend.has_work
        made = [make_row([1]) for _ in range(8)]
        engine.submit([one for one, _ in made])
        with pytest.raises(EngineOverloaded, match="5 answers would wait"):
            engine.submit([make_row([1])[0]])
        for _, steps in made:
            assert (await last(steps)).finish_reason == "length"


async def test_what_nobody_waits_for_any_more_keeps_nobody_out(
    demo_tokenizer: PreTrainedTokenizerFast,
) -> None:
    async with engine_of(demo_tokenizer) as engine:
        left = [make_row([1])[0] for _ in range(8)]
        engine.submit(left)
        engine.cancel(left)
        made = [make_row([1]) for _ in range(8)]
        engine.submit([one for one, _ in made])
        for _, steps in made:
            assert (await last(steps)).finish_reason == "length"


async def test_clients_that_come_and_leave_within_a_step_do_not_fill_the_memory(
    demo_tokenizer: PreTrainedTokenizerFast,
) -> None:
    release, steps_began = threading.Event(), threading.Event()

    def wait() -> None:
        steps_began.set()
        assert release.wait(20)

    async with engine_of(demo_tokenizer, wait) as engine:
        row, steps = make_row([1, TROUBLE, 2])
        engine.submit([row])
        await asyncio.to_thread(steps_began.wait, 20)
        taken = 0
        with suppress(EngineOverloaded):
            while taken < 100:
                left = [make_row([1])[0]]
                engine.submit(left)
                engine.cancel(left)
                taken += 1
        assert taken < 20
        release.set()
        assert (await last(steps)).finish_reason == "length"


async def test_places_for_answers_are_none_for_embeddings(demo_tokenizer: PreTrainedTokenizerFast) -> None:
    async with engine_of(demo_tokenizer) as engine:
        jobs = [EmbeddingJob(inputs=[[1]], deliver=lambda _: None) for _ in range(5)]
        engine.submit(jobs[:4])
        with pytest.raises(EngineOverloaded):
            engine.submit(jobs[4:])
        row, steps = make_row([1])
        engine.submit([row])
        assert (await last(steps)).finish_reason == "length"


async def test_those_that_will_wait_for_memory_are_counted_before_anyone_does(
    demo_tokenizer: PreTrainedTokenizerFast,
) -> None:
    cost = KvCost.of_model(tiny_model())
    room = Room(cost, budget_bytes=2 * cost.of(50 + HEADROOM_TOKENS))
    async with engine_of(demo_tokenizer, room=room) as engine:
        made = [make_row(text(50, seed=seed)) for seed in range(6)]
        for one, _ in made:  # two can run, four may wait, and the engine has not looked at any of them
            engine.submit([one])
        with pytest.raises(EngineOverloaded, match="5 answers would wait"):
            engine.submit([make_row(text(50, seed=7))[0]])
        for _, steps in made:
            assert (await last(steps)).finish_reason == "length"


def test_there_are_fewer_places_while_a_row_waits_for_memory() -> None:
    scheduler = scheduler_within("llama", 2, 60)
    rows = [row(text(50, seed=seed)) for seed in range(3)]
    for one in rows[:2]:
        scheduler.add(one)
    scheduler.step()
    assert scheduler.places == scheduler.max_rows == 8
    scheduler.add(rows[2])
    scheduler.step()
    assert (scheduler.running, scheduler.waiting, scheduler.places) == (2, 1, 2)
    rows[0].cancelled = True
    scheduler.step()
    assert (scheduler.running, scheduler.waiting, scheduler.places) == (2, 0, 8)
    scheduler.close()
