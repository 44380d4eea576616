"""First tokens that the pass says which reads the end of a prompt, and logits of those tokens only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlx.core as mx
import pytest

from inference.cache.kept_state import fresh_caches, keeps_every_token
from inference.generation.head import draws_at_once, wanting_ends
from inference.generation.pace import ON_CPU
from inference.generation.room import Limits
from inference.generation.scheduler import Scheduler
from tests.inference.families import FAMILIES, family_model
from tests.inference.generation.test_scheduler import alone, row, some_prompt, tokens, until_idle
from tests.inference.tiny_models import prompt_cache, tiny_model

if TYPE_CHECKING:
    from inference.work import Row, Step


@pytest.fixture(scope="module")
def model() -> Any:
    made = tiny_model(seed=1)
    assert draws_at_once(made)
    return made


@pytest.mark.parametrize("family", FAMILIES)
def test_all_models_draw_at_once_whose_layers_keep_every_token(family: str) -> None:
    made = family_model(family)
    assert draws_at_once(made) == keeps_every_token(made)


def test_the_head_sees_the_ends_of_rows_only(model: Any) -> None:
    prompts = mx.array([[5, 6, 7, 8], [9, 10, 11, 12], [1, 2, 3, 4]])
    spared = model(prompts, cache=wanting_ends(fresh_caches(model), [3, 0, 2]))
    whole = model(prompts, cache=fresh_caches(model))
    assert spared.shape == (3, 1, whole.shape[-1])
    for place, end in enumerate((3, 0, 2)):
        assert mx.allclose(spared[place, 0], whole[place, end], atol=1e-5).item()


class Counted:
    def __init__(self, model: Any) -> None:
        self._model = model
        self.layers = model.layers
        self.passes = 0

    def __call__(self, tokens: Any, cache: Any = None) -> Any:
        self.passes += 1
        return self._model(tokens, cache=cache)


@pytest.mark.parametrize("at_once", [False, True])
def test_the_model_is_asked_for_nothing_that_nobody_wants(model: Any, *, at_once: bool) -> None:
    counted = Counted(model)
    limits = Limits(max_rows=4, chunks=ON_CPU.up_to(16), draws_at_once=at_once)
    scheduler = Scheduler(counted, prompt_cache=prompt_cache(), limits=limits)
    counted.passes = 0
    one = row(some_prompt(5, seed=1), 9)
    scheduler.add(one)
    seen: dict[Row, list[Step]] = {}
    until_idle(scheduler, seen)
    scheduler.close()
    assert len(tokens(seen[one])) == 9
    # The prompt, its last token if it was not read with the rest, and eight of the answer's nine.
    assert counted.passes == 1 + (not at_once) + 8


def test_the_pass_that_reads_prompts_says_what_comes_first(model: Any) -> None:
    counted = Counted(model)
    limits = Limits(max_rows=4, chunks=ON_CPU.up_to(32), draws_at_once=True)
    scheduler = Scheduler(counted, prompt_cache=prompt_cache(), limits=limits)
    counted.passes = 0
    rows = [row(some_prompt(length, seed=length), 1) for length in (9, 4, 7)]
    for one in rows:
        scheduler.add(one)
    steps = scheduler.step()
    scheduler.close()
    assert counted.passes == 1
    assert {made: step.token and [step.token.id] for made, step in steps} == {
        one: alone(model, one.prompt, 1) for one in rows
    }
