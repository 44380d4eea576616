"""Passes that are left between two layers: what they come to is what they would have come to at once."""

from __future__ import annotations

import weakref
from itertools import count
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import pytest
from mlx.utils import tree_flatten

from inference.cache.kept_state import fresh_caches, keeps_every_token
from inference.cache.prompt_cache import PromptCache
from inference.generation.beside import reads_beside
from inference.generation.head import draws_at_once
from inference.generation.pace import ON_CPU, Pace
from inference.generation.room import Limits
from inference.generation.scheduler import Scheduler
from inference.generation.slices import Slices, teach_to_pause
from tests.inference.cache.test_prompt_cache import alone_cached, model_of, row, text
from tests.inference.families import FAMILIES

if TYPE_CHECKING:
    from inference.work import Row

PASS_TOKENS = 48


class OneLayer(Pace):
    """With each step one layer is computed, whatever the clock says."""

    def apart(self, unread: int) -> int:
        return min(PASS_TOKENS, unread)

    def has_time(self, tokens: int, *, layers: int, seconds: float) -> bool:  # noqa: ARG002
        return not layers


def scheduler_of(family: str, *, beside: bool = False) -> Scheduler:
    model = model_of(family)
    teach_to_pause(model)
    cache = PromptCache(max_bytes=2**26, cuts_anywhere=keeps_every_token(model))
    limits = Limits(
        16, ON_CPU, reads_beside=beside and reads_beside(model), draws_at_once=draws_at_once(model)
    )
    return Scheduler(model, prompt_cache=cache, limits=limits, pace=OneLayer(ON_CPU))


def running_row(scheduler: Scheduler, seed: int = 1) -> Row:
    one = row(text(5, seed=seed), max_tokens=3000)
    scheduler.add(one)
    while one not in [told for told, _ in scheduler.step()]:
        pass
    return one


def said(scheduler: Scheduler, rows: list[Row], *, steps_between: int = 1) -> dict[Row, list[int]]:
    """What they say when one joins after the other, while another one is running."""
    runs = running_row(scheduler)
    tokens: dict[Row, list[int]] = {one: [] for one in rows}
    open_rows, waiting = set(rows), [*rows]
    for number in count():
        if waiting and number % steps_between == 0:
            scheduler.add(waiting.pop(0))
        for one, step in scheduler.step():
            assert step.error is None
            if one in tokens and step.token is not None:
                tokens[one].append(step.token.id)
            if step.is_last:
                open_rows.discard(one)
        if not open_rows:
            break
    runs.cancelled = True
    scheduler.step()
    return tokens


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pass_in_slices_leaves_the_same_as_a_whole_one(family: str) -> None:
    model = model_of(family)
    teach_to_pause(model)
    tokens = mx.array([text(70, seed=4)])
    whole, sliced = fresh_caches(model), fresh_caches(model)
    expected = model(tokens, cache=whole)
    found = []
    slices = Slices(lambda: found.append(model(tokens, cache=sliced)))
    layers = 0
    while not slices.are_over:
        assert not found
        slices.go_on()
        layers += 1
    assert layers == len(model.layers)
    assert mx.array_equal(found[0], expected)
    for one, other in zip(whole, sliced, strict=True):
        pairs: Any = zip(tree_flatten(one.state), tree_flatten(other.state), strict=True)
        arrays = [(mine, theirs) for (_, mine), (_, theirs) in pairs if isinstance(mine, mx.array)]
        assert arrays
        assert all(mx.array_equal(mine, theirs) for mine, theirs in arrays)


@pytest.mark.parametrize("steps_between", [1, 7])
@pytest.mark.parametrize("family", FAMILIES)
def test_prompts_that_are_read_in_slices_say_what_they_say_alone(family: str, steps_between: int) -> None:
    scheduler = scheduler_of(family)
    rows = [row(text(length, seed=length)) for length in (12, 300, 3, 41, 40, 1, 130, 2)]
    for one, tokens in said(scheduler, rows, steps_between=steps_between).items():
        assert tokens == alone_cached(family, tuple(one.prompt))
    scheduler.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_prompts_that_end_with_a_pass_are_read_together_in_it(family: str) -> None:
    scheduler = scheduler_of(family)
    rows = [row(text(length, seed=length)) for length in (100, 20, 19, 9)]
    for one, tokens in said(scheduler, rows).items():
        assert tokens == alone_cached(family, tuple(one.prompt))
    scheduler.close()


def test_short_prompts_are_read_beside_rows_while_a_long_one_is_read_in_slices() -> None:
    scheduler = scheduler_of("llama", beside=True)
    rows = [row(text(1500, seed=1)), *(row(text(6 + seed, seed=seed)) for seed in range(2, 9))]
    runs = said(scheduler, rows, steps_between=5)
    for one, tokens in runs.items():
        assert tokens == alone_cached("llama", tuple(one.prompt))
    scheduler.close()


def test_rows_say_a_token_with_every_slice() -> None:
    scheduler = scheduler_of("llama")
    runs = running_row(scheduler)
    long = row(text(400, seed=2), max_tokens=1)
    scheduler.add(long)
    steps = 0
    while long not in (told := [one for one, _ in scheduler.step()]):
        assert runs in told
        steps += 1
    assert steps >= 400 // PASS_TOKENS * len(model_of("llama").layers)
    scheduler.close()


@pytest.mark.parametrize("family", ["llama", "gemma3_text", "mamba", "qwen3_next"])
@pytest.mark.parametrize("steps", range(1, 8))
def test_what_was_read_is_kept_when_a_row_leaves_amid_a_pass(family: str, steps: int) -> None:
    scheduler = scheduler_of(family)
    running_row(scheduler)
    prompt = text(200, seed=3)
    left = row(prompt)
    scheduler.add(left)
    for _ in range(2 * len(model_of(family).layers) + steps):
        scheduler.step()
    left.cancelled = True
    scheduler.step()
    assert scheduler.running == 1
    again = row(prompt)
    assert said(scheduler, [again])[again] == alone_cached(family, tuple(prompt))
    if keeps_every_token(model_of(family)):
        assert again.cached_tokens >= PASS_TOKENS
    scheduler.close()


@pytest.mark.parametrize("family", ["llama", "gemma3_text", "qwen3_next"])
@pytest.mark.parametrize("leaving", [(0,), (1,), (1, 2), (0, 1, 2)])
def test_a_row_may_leave_when_its_pass_is_over_and_it_has_not_begun(
    family: str, leaving: tuple[int, ...]
) -> None:
    scheduler = scheduler_of(family)
    running_row(scheduler)
    rows = [row(text(20 - seed, seed=seed)) for seed in range(3)]
    for one in rows:
        scheduler.add(one)
    while not scheduler._reader._groups:
        scheduler.step()
        scheduler.follow_up()
    for number in leaving:
        rows[number].cancelled = True
    tokens: dict[Row, list[int]] = {one: [] for one in rows}
    for _ in range(20):
        for one, step in scheduler.step():
            if one in tokens and step.token is not None:
                tokens[one].append(step.token.id)
    assert scheduler.running == 1
    for number, one in enumerate(rows):
        assert tokens[one] == ([] if number in leaving else alone_cached(family, tuple(one.prompt)))
    scheduler.close()


def test_a_pass_is_finished_at_once_when_nobody_waits_any_more() -> None:
    scheduler = scheduler_of("llama")
    runs = running_row(scheduler)
    long = row(text(100, seed=2))
    scheduler.add(long)
    for _ in range(2):
        scheduler.step()
    runs.cancelled = True
    told: list[int] = []
    for _ in range(4):
        told += [step.token.id for one, step in scheduler.step() if one is long and step.token is not None]
    assert told
    assert told == alone_cached("llama", tuple(long.prompt))[: len(told)]
    scheduler.close()


def test_a_row_waits_for_what_a_pass_under_way_is_reading() -> None:
    scheduler = scheduler_of("llama")
    beginning = text(120, seed=1)
    one, other = row(beginning + text(9, seed=2)), row(beginning + text(9, seed=3))
    tokens = said(scheduler, [one, other], steps_between=2)
    assert other.cached_tokens >= 120
    assert all(tokens[each] == alone_cached("llama", tuple(each.prompt)) for each in (one, other))
    scheduler.close()


def test_what_the_work_raises_is_raised_and_ends_it() -> None:
    model = model_of("llama")
    teach_to_pause(model)

    def work() -> None:
        model(mx.array([[1, 2, 3]]))
        raise ValueError("no such thing")

    slices = Slices(work)
    for _ in model.layers[1:]:
        slices.go_on()
    with pytest.raises(ValueError, match="no such thing"):
        slices.go_on()
    assert slices.are_over


def test_dropped_work_ends_where_it_stands_and_lets_go_of_everything() -> None:
    model = model_of("llama")
    teach_to_pause(model)
    ended: list[Any] = []

    class Held:
        pass

    def begin() -> tuple[Slices, weakref.ref[Held]]:
        held = Held()

        def work(held: Any = held) -> None:
            try:
                model(mx.array([[1, 2, 3]]))
                ended.append("whole")
            finally:
                ended.append(held.__class__)

        return Slices(work), weakref.ref(held)

    slices, held = begin()
    slices.go_on()
    slices.drop()
    assert slices.are_over
    assert ended == [Held]
    del slices
    assert held() is None


def test_a_model_learns_it_once() -> None:
    model = model_of("llama")
    teach_to_pause(model)
    kinds = [type(layer) for layer in model.layers]
    teach_to_pause(model)
    assert [type(layer) for layer in model.layers] == kinds
    assert {kind.__name__ for kind in kinds} == {"TransformerBlock"}
