"""A step of the model that fails: the row that made it fail fails alone, and the others say what they would
have said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from llguidance import LLMatcher

from inference.errors import GenerationFailed
from inference.generation.batch import Batch
from inference.generation.beside import reads_beside
from inference.generation.head import draws_at_once
from inference.generation.pace import ON_CPU
from inference.generation.room import Limits
from inference.generation.scheduler import Scheduler
from inference.generation.suspects import MOST_RESTARTS
from inference.http.grammars import Grammars
from inference.http.structure import Structure
from inference.work import Sampling
from tests.inference.generation.test_scheduler import alone, row, some_prompt, tokens, until_idle
from tests.inference.tiny_models import VOCABULARY_SIZE, prompt_cache, tiny_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedTokenizerFast

    from inference.work import Row, Step

POISON = 4242
END = 2


class PoisonedError(RuntimeError):
    """What a broken kernel or a lack of memory looks like from outside."""


class Poisonable:
    """A real model that fails on one token, and on every `strikes` more steps."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.layers = model.layers
        self.is_broken = False
        self.strikes = 0

    def __call__(self, inputs: Any, cache: Any = None) -> Any:
        if self.strikes:
            self.strikes -= 1
            raise PoisonedError
        if self.is_broken or (inputs == POISON).any().item():
            raise PoisonedError
        return self._model(inputs, cache=cache)


@pytest.fixture(scope="module")
def model() -> Any:
    made = tiny_model(seed=1)
    assert reads_beside(made)
    assert draws_at_once(made)
    return made


@pytest.fixture
def poisonable(model: Any) -> Poisonable:
    return Poisonable(model)


@pytest.fixture(params=[False, True], ids=["apart", "beside"])
def scheduler(poisonable: Poisonable, request: pytest.FixtureRequest) -> Iterator[Scheduler]:
    """Once with prompts that are read in passes of their own, and once in the pass of the rows."""
    limits = Limits(
        max_rows=8, chunks=ON_CPU.up_to(16), reads_beside=request.param, draws_at_once=not request.param
    )
    made = Scheduler(poisonable, prompt_cache=prompt_cache(), limits=limits)
    yield made
    made.close()


def after_steps(scheduler: Scheduler, rows: list[Row], steps: int) -> dict[Row, list[Step]]:
    for one in rows:
        scheduler.add(one)
    seen: dict[Row, list[Step]] = {}
    for _ in range(steps):
        for made, step in scheduler.step():
            seen.setdefault(made, []).append(step)
    return seen


@pytest.mark.parametrize("place", range(8))
def test_the_guilty_row_fails_alone(model: Any, scheduler: Scheduler, place: int) -> None:
    rows = [row(some_prompt(5 + seed, seed=seed), 12) for seed in range(8)]
    rows[place] = guilty = row([*some_prompt(4, seed=20), POISON, 5], 5)
    seen = after_steps(scheduler, rows, 0)
    until_idle(scheduler, seen)
    assert isinstance(seen[guilty][-1].error, GenerationFailed)
    for one in rows:
        if one is not guilty:
            assert tokens(seen[one]) == alone(model, one.prompt, 12)
            assert seen[one][-1].finish_reason == "length"


def test_answers_that_were_running_go_on_where_they_were(model: Any, scheduler: Scheduler) -> None:
    rows = [row(some_prompt(4, seed=seed), 40) for seed in range(3)]
    seen = after_steps(scheduler, rows, 12)
    assert all(len(tokens(seen[one])) > 5 for one in rows)
    guilty = row([*some_prompt(4, seed=9), POISON, 5], 5)
    scheduler.add(guilty)
    until_idle(scheduler, seen)
    assert isinstance(seen[guilty][-1].error, GenerationFailed)
    for one in rows:
        assert tokens(seen[one]) == alone(model, one.prompt, 40)


def test_two_guilty_rows_are_both_found(model: Any, scheduler: Scheduler) -> None:
    guilty = [row([*some_prompt(4, seed=seed), POISON, 5], 5) for seed in (20, 21)]
    innocent = [row(some_prompt(5, seed=seed), 9) for seed in range(4)]
    seen = after_steps(scheduler, [innocent[0], guilty[0], *innocent[1:], guilty[1]], 0)
    until_idle(scheduler, seen)
    assert all(isinstance(seen[one][-1].error, GenerationFailed) for one in guilty)
    assert all(tokens(seen[one]) == alone(model, one.prompt, 9) for one in innocent)


def test_a_failure_that_passes_costs_nobody_anything(
    model: Any, poisonable: Poisonable, scheduler: Scheduler
) -> None:
    rows = [row(some_prompt(4, seed=seed), 20) for seed in range(4)]
    seen = after_steps(scheduler, rows, 8)
    poisonable.strikes = 1
    until_idle(scheduler, seen)
    assert all(tokens(seen[one]) == alone(model, one.prompt, 20) for one in rows)


def test_a_seeded_and_penalised_row_says_the_same_after_a_failure(
    poisonable: Poisonable, scheduler: Scheduler
) -> None:
    sampling = Sampling(temperature=1.2, seed=5, presence_penalty=1.5, frequency_penalty=0.5)

    def said(*, fails: bool) -> list[int]:
        drawn, other = (row(some_prompt(6, seed=3), 25, sampling=sampling), row(some_prompt(4, seed=4), 25))
        seen = after_steps(scheduler, [drawn, other], 9)
        poisonable.strikes = int(fails)
        return tokens(until_idle(scheduler, seen)[drawn])

    assert said(fails=True) == said(fails=False)


def test_a_row_follows_its_grammar_through_a_failure(
    poisonable: Poisonable, scheduler: Scheduler, demo_tokenizer: PreTrainedTokenizerFast
) -> None:
    grammars = Grammars(demo_tokenizer.backend_tokenizer, width=VOCABULARY_SIZE, ends=[END])
    matcher = grammars.matcher(Structure("guided_regex", LLMatcher.grammar_from_regex("[0-9]{40}")))
    guided = row(some_prompt(5, seed=1), 80, matcher=matcher, stop_tokens=(END,))
    other = row(some_prompt(5, seed=2), 60)
    seen = after_steps(scheduler, [guided, other], 10)
    poisonable.strikes = 1
    until_idle(scheduler, seen)
    text = demo_tokenizer.decode(tokens(seen[guided]))
    assert isinstance(text, str)
    assert len(text) == 40
    assert text.isdigit()


def test_a_model_that_is_broken_fails_every_row_and_ends(
    poisonable: Poisonable, scheduler: Scheduler, caplog: pytest.LogCaptureFixture
) -> None:
    poisonable.is_broken = True
    rows = [row(some_prompt(5, seed=seed), 9) for seed in range(8)]
    seen = after_steps(scheduler, rows, 0)
    until_idle(scheduler, seen)
    assert all(isinstance(seen[one][-1].error, GenerationFailed) for one in rows)
    assert all(one.restarts <= MOST_RESTARTS for one in rows)
    assert "A step of the model failed." in caplog.text
    assert (scheduler.running, scheduler.waiting) == (0, 0)


def test_a_lack_of_memory_is_told_as_such_and_the_prompt_cache_goes_first(model: Any) -> None:
    class Hungry(Poisonable):
        def __call__(self, inputs: Any, cache: Any = None) -> Any:
            if (inputs == POISON).any().item():
                raise RuntimeError("[malloc] Unable to allocate 68719476736 bytes.")  # MLX's own words
            return self._model(inputs, cache=cache)

    kept = prompt_cache()
    scheduler = Scheduler(
        Hungry(model), prompt_cache=kept, limits=Limits(max_rows=8, chunks=ON_CPU.up_to(16))
    )
    scheduler.add(row(some_prompt(60, seed=1), 3))
    until_idle(scheduler)
    assert kept.nbytes > 0
    hungry = row([*some_prompt(2, seed=2), POISON], 3)
    scheduler.add(hungry)
    error = until_idle(scheduler)[hungry][-1].error
    assert "ran out of memory" in str(error)
    assert kept.nbytes == 0
    scheduler.close()


def test_it_goes_on_with_rows_that_come_later(
    model: Any, poisonable: Poisonable, scheduler: Scheduler
) -> None:
    poisonable.strikes = 1
    scheduler.add(row(some_prompt(5, seed=1), 9))
    until_idle(scheduler)
    healthy = row(some_prompt(6, seed=3), 8)
    scheduler.add(healthy)
    assert tokens(until_idle(scheduler)[healthy]) == alone(model, healthy.prompt, 8)


def test_a_row_that_leaves_during_its_trial_holds_up_nobody(model: Any, scheduler: Scheduler) -> None:
    rows = [row(some_prompt(5, seed=seed), 30) for seed in range(4)]
    seen = after_steps(scheduler, [*rows, row([*some_prompt(4, seed=20), POISON, 5], 5)], 1)
    rows[0].cancelled = rows[1].cancelled = True
    until_idle(scheduler, seen)
    for one in rows[2:]:
        assert tokens(seen[one]) == alone(model, one.prompt, 30)


def test_a_row_that_has_ended_is_over_when_the_step_behind_it_fails(
    model: Any, poisonable: Poisonable, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending, *going_on = [row(some_prompt(4, seed=seed), 5 if seed == 1 else 20) for seed in (1, 2, 3)]
    seen = after_steps(scheduler, [ending, *going_on], 0)
    while not (ending in seen and seen[ending][-1].is_last):
        for made, step in scheduler.step():
            seen.setdefault(made, []).append(step)

    def fail(batch: Batch) -> None:
        monkeypatch.undo()
        raise PoisonedError

    monkeypatch.setattr(Batch, "launch", fail)
    assert scheduler.follow_up() == []
    until_idle(scheduler, seen)
    assert tokens(seen[ending]) == alone(model, ending.prompt, 5)
    assert all(tokens(seen[one]) == alone(model, one.prompt, 20) for one in going_on)
