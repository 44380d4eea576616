"""The scheduler: rows that join, leave and fail in the middle of a batch change nothing for the others.

The oracle is mlx_lm generating one answer at a time, greedily.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.generate import generate_step

from inference.errors import GenerationFailed
from inference.generation.beside import reads_beside
from inference.generation.head import draws_at_once
from inference.generation.pace import ON_CPU
from inference.generation.room import Limits
from inference.generation.sampling import logprobs_of
from inference.generation.scheduler import Scheduler
from inference.generation.slices import teach_to_pause
from inference.work import Row, Sampling, Step
from tests.inference.tiny_models import VOCABULARY_SIZE, prompt_cache, tiny_model

if TYPE_CHECKING:
    from collections.abc import Iterator

GREEDY = Sampling(temperature=0)


@pytest.fixture(scope="module")
def model() -> Any:
    made = tiny_model(seed=1)
    assert reads_beside(made)
    assert draws_at_once(made)
    teach_to_pause(made)
    return made


@pytest.fixture(params=["plain", "at once", "beside"])
def scheduler(model: Any, request: pytest.FixtureRequest) -> Iterator[Scheduler]:
    """Once with prompts that are read in passes of their own, once with first tokens drawn from those, and
    once with short prompts that are read in the pass of the rows.
    """
    limits = Limits(
        max_rows=4,
        chunks=ON_CPU.up_to(16),
        reads_beside=request.param == "beside",
        draws_at_once=request.param == "at once",
    )
    made = Scheduler(model, prompt_cache=prompt_cache(), limits=limits)
    yield made
    made.close()


def row(prompt: list[int], max_tokens: int = 10, **fields: Any) -> Row:
    defaults: dict[str, Any] = {"sampling": GREEDY, "stop_tokens": (), "deliver": lambda _: None}
    return Row(prompt=prompt, max_tokens=max_tokens, **{**defaults, **fields})


def some_prompt(length: int, *, seed: int) -> list[int]:
    return [int(token) for token in np.random.default_rng(seed).integers(100, VOCABULARY_SIZE, length)]


def alone(model: Any, prompt: list[int], max_tokens: int) -> list[int]:
    steps = generate_step(mx.array(prompt), model, max_tokens=max_tokens)
    return [int(token) for token, _ in steps]


def until_idle(scheduler: Scheduler, seen: dict[Row, list[Step]] | None = None) -> dict[Row, list[Step]]:
    seen = {} if seen is None else seen
    while scheduler.has_work:
        for made, step in scheduler.step():
            seen.setdefault(made, []).append(step)
    return seen


def tokens(steps: list[Step]) -> list[int]:
    return [step.token.id for step in steps if step.token is not None]


def test_rows_that_join_at_different_times_say_what_they_say_alone(model: Any, scheduler: Scheduler) -> None:
    rows = [row(some_prompt(length, seed=length), 12 + length % 5) for length in (1, 3, 50, 7, 33, 2, 17, 90)]
    seen: dict[Row, list[Step]] = {}
    for one in rows:
        scheduler.add(one)
        for made, step in scheduler.step():
            seen.setdefault(made, []).append(step)
    until_idle(scheduler, seen)
    for one in rows:
        assert tokens(seen[one]) == alone(model, one.prompt, one.max_tokens)
        assert seen[one][-1].finish_reason == "length"


def test_a_prompts_tokens_are_judged_as_one_pass_of_the_model_judges_them(
    model: Any, scheduler: Scheduler
) -> None:
    judged = [
        row(some_prompt(length, seed=length), 4, prompt_logprobs=3, top_logprobs=3)
        for length in (1, 2, 9, 90)
    ]
    for one in [*judged, row(some_prompt(90, seed=90))]:
        scheduler.add(one)
    seen = until_idle(scheduler)

    for one in judged:
        assert tokens(seen[one]) == alone(model, one.prompt, 4)
        assert [token.id for token in one.prompt_odds] == one.prompt
        assert one.prompt_odds[0].logprob is None
        logprobs = logprobs_of(model(mx.array([one.prompt]))[0])
        expected = [logprobs[place, token].item() for place, token in enumerate(one.prompt[1:])]
        assert [token.logprob for token in one.prompt_odds[1:]] == pytest.approx(expected, abs=1e-3)
        likeliest = [mx.argmax(logprobs[place]).item() for place in range(len(one.prompt) - 1)]
        assert [token.likeliest[0][0] for token in one.prompt_odds[1:]] == likeliest


def test_a_prompt_that_is_known_is_judged_all_the_same(scheduler: Scheduler) -> None:
    prompt = some_prompt(60, seed=60)
    first, again = (row(prompt, 2, prompt_logprobs=0, top_logprobs=0) for _ in range(2))
    scheduler.add(first)
    until_idle(scheduler)
    scheduler.add(again)
    until_idle(scheduler)
    assert [token.logprob for token in again.prompt_odds[1:]] == pytest.approx(
        [token.logprob for token in first.prompt_odds[1:]]
    )


def test_rows_that_leave_do_not_disturb_the_others(model: Any, scheduler: Scheduler) -> None:
    staying = [row(some_prompt(20, seed=1), 25), row(some_prompt(5, seed=2), 25)]
    leaving = [row(some_prompt(9, seed=3), 500), row(some_prompt(400, seed=4), 500)]
    for one in (staying[0], leaving[0], staying[1], leaving[1]):
        scheduler.add(one)
    seen: dict[Row, list[Step]] = {}
    for _ in range(4):
        for made, step in scheduler.step():
            seen.setdefault(made, []).append(step)
    for one in leaving:
        one.cancelled = True
    until_idle(scheduler, seen)
    for one in staying:
        assert tokens(seen[one]) == alone(model, one.prompt, 25)
    assert len(seen[leaving[0]]) < 500
    assert leaving[1] not in seen  # its prompt was still being read


def test_a_cancelled_row_frees_its_place_at_the_next_step(scheduler: Scheduler) -> None:
    endless = [row(some_prompt(3, seed=seed), 10_000) for seed in range(4)]
    waiting = row(some_prompt(3, seed=9), 1)
    for one in (*endless, waiting):
        scheduler.add(one)
    scheduler.step()
    assert (scheduler.running, scheduler.waiting) == (4, 1)
    endless[2].cancelled = True
    scheduler.step()
    assert (scheduler.running, scheduler.waiting) == (4, 0)


def test_a_row_that_is_cancelled_while_it_waits_never_begins(scheduler: Scheduler) -> None:
    gone = row(some_prompt(3, seed=1))
    gone.cancelled = True
    scheduler.add(gone)
    assert scheduler.step() == []
    assert not scheduler.has_work


def test_it_stops_at_a_stop_token_and_does_not_show_it(model: Any, scheduler: Scheduler) -> None:
    prompt = some_prompt(6, seed=5)
    whole = alone(model, prompt, 10)
    stopping = row(prompt, stop_tokens=(whole[4],))
    scheduler.add(stopping)
    steps = until_idle(scheduler)[stopping]
    assert tokens(steps) == whole[: whole.index(whole[4])]
    assert steps[-1] == Step(finish_reason="stop", stop_token=whole[4])


def test_a_seeded_row_says_the_same_whoever_its_neighbours_are(scheduler: Scheduler) -> None:
    def run(neighbours: list[Row]) -> list[int]:
        seeded = row(some_prompt(8, seed=6), 15, sampling=Sampling(temperature=1.2, top_p=0.9, seed=11))
        for one in (*neighbours, seeded):
            scheduler.add(one)
        return tokens(until_idle(scheduler)[seeded])

    free = [
        row(some_prompt(length, seed=length), 20, sampling=Sampling(temperature=1.2)) for length in (3, 30)
    ]
    first = run([])
    assert first == run(free)
    assert first == run([row(some_prompt(2, seed=7), 3, sampling=Sampling(presence_penalty=1))])


def test_penalised_rows_and_free_rows_share_a_batch(model: Any, scheduler: Scheduler) -> None:
    prompt = some_prompt(10, seed=8)
    free = row(prompt, 30)
    penalised = row(prompt, 30, sampling=Sampling(temperature=0, frequency_penalty=2, presence_penalty=2))
    biased = row(prompt, 5, sampling=Sampling(temperature=0, logit_bias=((77, 100.0),)))
    for one in (free, penalised, biased):
        scheduler.add(one)
    seen = until_idle(scheduler)
    assert tokens(seen[free]) == alone(model, prompt, 30)
    assert tokens(seen[biased]) == [77] * 5
    assert len(set(tokens(seen[penalised]))) >= len(set(tokens(seen[free])))


def test_logprobs_are_those_of_the_model(model: Any, scheduler: Scheduler) -> None:
    prompt = some_prompt(10, seed=12)
    asking = row(prompt, 1, top_logprobs=3)
    scheduler.add(asking)
    (step,) = until_idle(scheduler)[asking]
    _check_logprobs(model, prompt, step)


def test_logprobs_of_rows_that_join_later_are_those_of_the_model(model: Any, scheduler: Scheduler) -> None:
    rows = [row(some_prompt(4 + place, seed=place), 6, top_logprobs=3) for place in range(4)]
    seen: dict[Row, list[Step]] = {}
    for one in rows:
        scheduler.add(one)
        for made, step in scheduler.step():
            seen.setdefault(made, []).append(step)
    until_idle(scheduler, seen)
    for one in rows:
        for place, step in enumerate(seen[one]):
            _check_logprobs(model, [*one.prompt, *tokens(seen[one][:place])], step)


def _check_logprobs(model: Any, before: list[int], step: Step) -> None:
    """Of a greedy row that asked for three of them, by the model that reads all `before` at once."""
    logits = model(mx.array([before]))[0, -1]
    expected = logits - mx.logsumexp(logits)
    assert step.token is not None
    assert step.token.logprob == pytest.approx(expected[step.token.id].item(), abs=1e-4)
    assert [one for one, _ in step.token.likeliest] == mx.argsort(-expected)[:3].tolist()
    assert step.token.likeliest[0][0] == step.token.id


def test_a_row_that_cannot_begin_fails_alone(model: Any, scheduler: Scheduler) -> None:
    impossible, fine = row([], 5), row(some_prompt(4, seed=4), 5)
    scheduler.add(impossible)
    scheduler.add(fine)
    seen = until_idle(scheduler)
    assert isinstance(seen[impossible][0].error, GenerationFailed)
    assert tokens(seen[fine]) == alone(model, fine.prompt, 5)


def test_running_rows_go_on_while_a_long_prompt_is_read(scheduler: Scheduler) -> None:
    running = row(some_prompt(4, seed=1), 200)
    scheduler.add(running)
    scheduler.step()
    scheduler.add(row(some_prompt(400, seed=2), 1))
    steps_until_long_begins = 0
    while all(made is running for made, _ in scheduler.step()):
        steps_until_long_begins += 1
    assert steps_until_long_begins >= 400 // 16


def test_short_prompts_begin_together(model: Any) -> None:
    scheduler = Scheduler(
        model, prompt_cache=prompt_cache(), limits=Limits(max_rows=12, chunks=ON_CPU.up_to(32))
    )
    for seed in range(12):
        scheduler.add(row(some_prompt(5, seed=seed), 3))
    scheduler.step()  # all prompts are read
    scheduler.step()  # all rows begin
    assert len(scheduler.step()) == 12
    scheduler.close()


def test_a_row_that_has_ended_counts_as_running_no_more(scheduler: Scheduler) -> None:
    one = row(some_prompt(5, seed=1), 3)
    scheduler.add(one)
    while not any(step.is_last for _, step in scheduler.step()):
        assert scheduler.running == 1
    assert scheduler.running == 0
    assert scheduler.has_work  # what it has read is still to be kept
    assert scheduler.follow_up() == []
    assert not scheduler.has_work
