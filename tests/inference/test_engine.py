"""The engine in trouble: a step fails, a step hangs, a model does not load. The models are real."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mlx_lm.tokenizer_utils import TokenizerWrapper

from inference.backend import Backend, leave_thread
from inference.engine import MOST_FAILURES, Engine
from inference.errors import EngineNotReady, EngineStopping, GenerationFailed, ModelNotFound
from inference.generation.pace import ON_CPU
from inference.generation.room import Limits, Room
from inference.generation.scheduler import Scheduler
from inference.loading.loader import LoadedModel
from inference.work import Row, Sampling, Step
from tests.inference.tiny_models import CONTEXT_LENGTH, VOCABULARY_SIZE, prompt_cache, tiny_model

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from transformers import PreTrainedTokenizerFast

TROUBLE = 4242
STUCK_AFTER_SECONDS = 0.2


class Troubled:
    """A real model that does something else first when it meets one token."""

    def __init__(self, trouble: Callable[[], None]) -> None:
        self._model = tiny_model()
        self._trouble = trouble
        self.layers = self._model.layers
        self.widths: list[int] = []  # how many rows each of its passes had

    def __call__(self, inputs: Any, cache: Any = None) -> Any:
        self.widths.append(inputs.shape[0])
        if (inputs == TROUBLE).any().item():
            self._trouble()
        return self._model(inputs, cache=cache)


@asynccontextmanager
async def engine_of(
    tokenizer: PreTrainedTokenizerFast,
    trouble: Callable[[], None] = lambda: None,
    *,
    room: Room | None = None,
    **options: Any,
) -> AsyncIterator[Engine]:
    def build() -> Backend:
        model = Troubled(trouble)
        chat = LoadedModel(
            name="troubled",
            path=Path(),
            model=model,
            tokenizer=TokenizerWrapper(tokenizer),
            context_length=CONTEXT_LENGTH,
            vocabulary_size=VOCABULARY_SIZE,
            created=0,
        )
        limits = Limits(max_rows=4, chunks=ON_CPU.up_to(32))
        return Backend(chat, None, Scheduler(model, prompt_cache=prompt_cache(), limits=limits, room=room))

    engine = Engine(
        build,
        leave_thread,
        model_name="troubled",
        max_waiting=4,
        stuck_after_seconds=STUCK_AFTER_SECONDS,
        **options,
    )
    engine.start()
    try:
        await engine.loaded.wait()
        yield engine
    finally:
        await engine.close(grace_seconds=0)
        await asyncio.to_thread(engine.join, timeout_seconds=20)


def make_row(prompt: list[int], max_tokens: int = 5) -> tuple[Row, asyncio.Queue[Step]]:
    steps: asyncio.Queue[Step] = asyncio.Queue()
    row = Row(
        prompt=prompt,
        max_tokens=max_tokens,
        sampling=Sampling(temperature=0),
        stop_tokens=(),
        deliver=steps.put_nowait,
    )
    return row, steps


async def last(steps: asyncio.Queue[Step]) -> Step:
    while not (step := await steps.get()).is_last:
        pass
    return step


async def until_unhealthy(engine: Engine) -> None:
    deadline = time.monotonic() + 20
    while engine.health().status == "healthy":
        assert time.monotonic() < deadline
        await asyncio.sleep(STUCK_AFTER_SECONDS / 4)  # health is computed when asked: nothing to wait for


async def test_a_failed_step_is_told_to_its_rows_and_the_engine_goes_on(
    demo_tokenizer: PreTrainedTokenizerFast,
) -> None:
    def fail() -> None:
        raise RuntimeError("out of memory")

    async with engine_of(demo_tokenizer, fail) as engine:
        row, steps = make_row([1, TROUBLE, 2])
        engine.submit([row])
        assert isinstance((await last(steps)).error, GenerationFailed)
        assert engine.health().status == "healthy"
        row, steps = make_row([1, 2, 3])
        engine.submit([row])
        assert (await last(steps)).finish_reason == "length"


class Broken(Scheduler):
    """A scheduler whose own code fails, where it never should, as often as `failures` says."""

    failures = 0

    def step(self) -> list[tuple[Row, Step]]:
        if self.waiting and self.failures:
            self.failures -= 1
            raise RuntimeError("a mistake of ours")
        return super().step()


@asynccontextmanager
async def broken_engine(tokenizer: PreTrainedTokenizerFast, failures: int) -> AsyncIterator[Engine]:
    def break_it(backend: Backend) -> None:
        scheduler = Broken(
            backend.chat.model,
            prompt_cache=prompt_cache(),
            limits=Limits(max_rows=4, chunks=ON_CPU.up_to(32)),
        )
        scheduler.failures = failures
        backend._scheduler = scheduler

    async with engine_of(tokenizer) as engine:
        break_it(engine.backend)
        yield engine


async def test_an_engine_that_fails_begins_anew(demo_tokenizer: PreTrainedTokenizerFast) -> None:
    async with broken_engine(demo_tokenizer, failures=1) as engine:
        lost, lost_steps = make_row([1, 2, 3])
        engine.submit([lost])
        error = (await last(lost_steps)).error
        assert isinstance(error, GenerationFailed)
        assert "has begun anew" in str(error)
        assert engine.health().status == "healthy"
        row, steps = make_row([1, 2, 3])
        engine.submit([row])
        assert (await last(steps)).finish_reason == "length"


async def test_an_engine_that_only_fails_says_so(demo_tokenizer: PreTrainedTokenizerFast) -> None:
    async with broken_engine(demo_tokenizer, failures=1000) as engine:
        for _ in range(MOST_FAILURES):
            row, steps = make_row([1, 2, 3])
            engine.submit([row])
            assert isinstance((await last(steps)).error, GenerationFailed)
        await engine.ended.wait()
        assert engine.health().status == "unhealthy"
        assert "a mistake of ours" in engine.health().reason


async def test_health_is_red_for_exactly_as_long_as_a_step_is_stuck(
    demo_tokenizer: PreTrainedTokenizerFast,
) -> None:
    release = threading.Event()

    def wait() -> None:
        assert release.wait(20)

    async with engine_of(demo_tokenizer, wait) as engine:
        row, steps = make_row([1, TROUBLE, 2])
        engine.submit([row])
        await until_unhealthy(engine)
        assert "stuck" in engine.health().reason
        with pytest.raises(EngineNotReady):
            engine.submit([make_row([1])[0]])
        release.set()
        assert (await last(steps)).finish_reason == "length"
        assert engine.health().status == "healthy"


async def test_it_tells_how_many_answers_are_being_generated(
    demo_tokenizer: PreTrainedTokenizerFast,
) -> None:
    release = threading.Event()

    def wait() -> None:
        assert release.wait(20)

    async with engine_of(demo_tokenizer, wait) as engine:
        assert (engine.running, engine.waiting) == (0, 0)
        made = [make_row([1, TROUBLE, 2]) for _ in range(2)]
        engine.submit([row for row, _ in made])
        await until_unhealthy(engine)
        assert engine.running + engine.waiting == 2
        assert engine.running >= 1
        release.set()
        for _, steps in made:
            await last(steps)
        assert engine.memory["active_bytes"] > 0


async def test_closing_fails_what_runs_and_refuses_what_comes(
    demo_tokenizer: PreTrainedTokenizerFast,
) -> None:
    async with engine_of(demo_tokenizer) as engine:
        row, steps = make_row([1, 2], max_tokens=CONTEXT_LENGTH)
        engine.submit([row])
        assert (await steps.get()).token is not None
        await engine.close(grace_seconds=0)
        assert isinstance((await last(steps)).error, EngineStopping)
        with pytest.raises(EngineStopping):
            engine.submit([make_row([1])[0]])


async def test_closing_lets_a_short_answer_finish(demo_tokenizer: PreTrainedTokenizerFast) -> None:
    async with engine_of(demo_tokenizer) as engine:
        row, steps = make_row([1, 2], max_tokens=10)
        engine.submit([row])
        await engine.close(grace_seconds=20)
        assert (await last(steps)).finish_reason == "length"


async def test_a_second_request_to_stop_ends_the_grace(demo_tokenizer: PreTrainedTokenizerFast) -> None:
    async with engine_of(demo_tokenizer) as engine:
        row, steps = make_row([1, 2], max_tokens=CONTEXT_LENGTH)
        engine.submit([row])
        assert (await steps.get()).token is not None
        closing = asyncio.create_task(engine.close(grace_seconds=60))
        await asyncio.sleep(0)
        engine.hurry()
        assert isinstance((await last(steps)).error, EngineStopping)
        await closing


async def test_a_model_that_does_not_load_is_the_reason_of_the_health() -> None:
    def build() -> Backend:
        raise ModelNotFound("There is no model at /nowhere.")

    engine = Engine(build, leave_thread, model_name="x", max_waiting=1, stuck_after_seconds=1)
    assert engine.health().status == "loading"
    engine.start()
    await engine.ended.wait()
    assert engine.health().status == "unhealthy"
    assert engine.health().reason == "There is no model at /nowhere."
    assert isinstance(engine.failure, ModelNotFound)
    assert engine.join(timeout_seconds=20)


def wait_until_taken(engine: Engine) -> None:
    deadline = time.monotonic() + 20
    while not engine._inbox.empty():
        assert time.monotonic() < deadline
        time.sleep(0.001)


async def test_rows_that_come_together_begin_together(demo_tokenizer: PreTrainedTokenizerFast) -> None:
    async with engine_of(demo_tokenizer, gather_seconds=60) as engine:
        rows = [make_row([1, 2, 3, 4]), make_row([5, 6, 7, 8])]
        with engine.expecting():
            engine.submit([rows[0][0]])
            await asyncio.to_thread(wait_until_taken, engine)
            engine.submit([rows[1][0]])
        for _, steps in rows:
            assert (await last(steps)).finish_reason == "length"
        model: Any = engine.backend.chat.model
        assert set(model.widths) == {2}


async def test_a_row_does_not_wait_for_one_that_never_comes(demo_tokenizer: PreTrainedTokenizerFast) -> None:
    row, steps = make_row([1, 2, 3])
    async with engine_of(demo_tokenizer) as engine:
        with engine.expecting():
            engine.submit([row])
            assert (await last(steps)).finish_reason == "length"
