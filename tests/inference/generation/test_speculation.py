"""Guessing ahead: the answer is the one without guesses, token for token, and it takes fewer passes.

The oracle is mlx_lm generating one answer at a time, and the scheduler without speculation.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.generation.limits import limits_of
from inference.generation.reader import LONGEST_BESIDE
from inference.generation.scheduler import Scheduler
from inference.generation.speculation import FIRST_PAUSE_TOKENS, TRIALS, Lookup, Speculation
from inference.work import Sampling
from tests.inference.cache.test_prompt_cache import alone, answers, model_of, row, text
from tests.inference.families import FAMILIES
from tests.inference.tiny_models import prompt_cache

if TYPE_CHECKING:
    from inference.generation.batch import Batch, Made
    from inference.work import Row

ANSWER = 40
THREE_DEGREES_ONE_IN_A_THOUSAND = 16.27  # chi-squared


class Counted:
    """A real model that counts its passes."""

    def __init__(self, model: Any) -> None:
        self.counted = model
        self.layers = model.layers
        self.passes = 0
        if hasattr(model, "make_cache"):
            self.make_cache = model.make_cache

    def __call__(self, inputs: Any, cache: Any = None) -> Any:
        self.passes += 1
        return self.counted(inputs, cache=cache)


class Oracle(Speculation):
    """Guesses always, as if it paid always: a tiny model's steps are too short to be measured."""

    def __init__(self, draft: Any = None) -> None:
        super().__init__(draft)
        self._plain_steps = TRIALS

    def _learn_cost(self, seconds: float, made: int) -> None:
        super()._learn_cost(seconds, made)
        self._pause = 0


class Watched(Speculation):
    """Remembers of every step whether it was undisturbed, and whether it was taken for a usual one."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[bool, bool]] = []

    def step(self, batch: Batch, *, is_undisturbed: bool) -> list[Made]:
        before = self._plain_steps
        made = super().step(batch, is_undisturbed=is_undisturbed)
        self.steps.append((is_undisturbed, self._plain_steps > before))
        return made


def scheduler_of(model: Any, speculation: Speculation | None) -> Scheduler:
    return Scheduler(
        model,
        prompt_cache=prompt_cache(max_bytes=0),
        limits=limits_of(getattr(model, "counted", model), max_rows=4, chunk_tokens=64),
        speculation=speculation,
    )


def said_by(model: Any, speculation: Speculation | None, *rows: Row) -> list[list[int]]:
    scheduler = scheduler_of(model, speculation)
    said = answers(scheduler, *rows)
    scheduler.close()
    return said


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_answers_are_those_of_plain_decoding(family: str) -> None:
    prompt = text(12, seed=1) * 3
    (said,) = said_by(model_of(family), Oracle(), row(prompt, max_tokens=ANSWER))
    assert said == alone(family, prompt, ANSWER)


def test_a_text_that_repeats_itself_takes_fewer_passes() -> None:
    model = Counted(model_of("llama"))
    # What the model says to this is repeated in the prompt: so a lookup can know it.
    prompt = text(10, seed=3)
    whole = [*prompt, *alone("llama", prompt, ANSWER)]
    asked = [*whole, *whole[: len(prompt) + 4]]
    expected = alone("llama", asked, ANSWER)
    (said,) = said_by(model, Oracle(), row(asked, max_tokens=ANSWER))
    plain = Counted(model_of("llama"))
    said_by(plain, None, row(asked, max_tokens=ANSWER))
    assert said == expected
    assert model.passes <= plain.passes


def test_a_draft_model_that_agrees_saves_most_passes() -> None:
    model = Counted(model_of("llama"))
    prompt = text(20, seed=5)
    (said,) = said_by(model, Oracle(model_of("llama")), row(prompt, max_tokens=ANSWER))
    assert said == alone("llama", prompt, ANSWER)
    assert model.passes < ANSWER / 3


def test_a_draft_model_that_disagrees_changes_nothing() -> None:
    prompt = text(20, seed=6)
    (said,) = said_by(model_of("llama"), Oracle(model_of("qwen3_moe")), row(prompt, max_tokens=ANSWER))
    assert said == alone("llama", prompt, ANSWER)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=0.8),
        Sampling(temperature=1, top_p=0.8),
        Sampling(xtc_probability=0.5, xtc_threshold=0.02),
        Sampling(typical_p=0.5, top_k=50, top_a=0.1),
    ],
)
def test_sampled_answers_have_the_distribution_of_plain_decoding(sampling: Sampling) -> None:
    """The first two tokens of many answers, against the product of the model's own probabilities."""
    model, prompt = model_of("llama"), text(9, seed=7)
    plain, guessed = Counter[tuple[int, ...]](), Counter[tuple[int, ...]]()
    with_guesses, without = scheduler_of(model, Oracle(model)), scheduler_of(model, None)
    for seed in range(60):
        chosen = replace(sampling, seed=seed)
        (one,) = answers(with_guesses, row(prompt, max_tokens=6, sampling=chosen))
        (other,) = answers(without, row(prompt, max_tokens=6, sampling=chosen))
        guessed[tuple(one)] += 1
        plain[tuple(other)] += 1
    with_guesses.close()
    without.close()
    assert guessed == plain  # not only in distribution: every token is drawn with the same number
    assert len(plain) > 1


def test_a_token_that_was_guessed_comes_as_often_as_the_model_says() -> None:
    """The second token of an answer, checked against a guess, among the answers whose first is the same."""
    model, prompt = model_of("llama"), text(9, seed=8)
    speculation = Oracle(model)  # guesses the likeliest token, which a temperature often refuses
    answered: Counter[tuple[int, ...]] = Counter()
    scheduler = scheduler_of(model, speculation)
    for seed in range(400):
        sampling = Sampling(temperature=1.5, top_k=4, seed=seed)
        (said,) = answers(scheduler, row(prompt, max_tokens=2, sampling=sampling))
        answered[tuple(said)] += 1
    scheduler.close()
    ((first, draws),) = Counter(one for one, _ in answered.elements()).most_common(1)
    logits = np.array(model(mx.array([[*prompt, first]]))[0, -1], dtype=np.float64)
    likeliest = np.argsort(-logits)[:4]
    expected = np.exp((logits[likeliest] - logits.max()) / 1.5)
    expected *= draws / expected.sum()
    observed = np.array([answered[first, int(token)] for token in likeliest])
    assert observed.sum() == draws
    assert ((observed - expected) ** 2 / expected).sum() < THREE_DEGREES_ONE_IN_A_THOUSAND


def test_a_row_that_is_guessed_for_goes_on_in_a_batch_when_others_come() -> None:
    model = model_of("llama")
    scheduler = scheduler_of(model, Oracle(model))
    rows = [row(text(10 + seed, seed=seed), max_tokens=30) for seed in range(3)]
    said: dict[Row, list[int]] = {one: [] for one in rows}
    for one in rows:
        scheduler.add(one)
        for _ in range(3):
            for made, step in scheduler.step():
                assert step.token is not None
                said[made].append(step.token.id)
    while scheduler.has_work:
        for made, step in scheduler.step():
            assert step.token is not None
            said[made].append(step.token.id)
    assert all(said[one] == alone("llama", one.prompt, 30) for one in rows)
    scheduler.close()


def test_nothing_is_said_behind_a_stop_token_that_was_guessed() -> None:
    model, prompt = model_of("llama"), text(15, seed=9)
    whole = alone("llama", prompt, 20)
    stop = next(token for place, token in enumerate(whole) if place >= 6 and token not in whole[:place])
    asked = row(prompt, max_tokens=20)
    asked.stop_tokens = (stop,)
    (said,) = said_by(model, Oracle(model), asked)
    assert said == whole[: whole.index(stop)]


def test_guesses_that_do_not_pay_are_left_out() -> None:
    slow = Counted(model_of("qwen3_moe"))  # a draft as large as the model, which guesses wrongly
    speculation = Speculation(slow)
    asked = row(text(20, seed=10), max_tokens=4 * FIRST_PAUSE_TOKENS)
    (said,) = said_by(model_of("llama"), speculation, asked)
    assert len(said) == 4 * FIRST_PAUSE_TOKENS
    assert 0 < slow.passes < len(said)


def test_steps_beside_which_a_long_prompt_is_read_are_not_taken_for_usual_ones() -> None:
    speculation = Watched()
    scheduler = scheduler_of(model_of("llama"), speculation)
    scheduler.add(row(text(10, seed=1), max_tokens=400))
    while len(speculation.steps) < 20:
        scheduler.step()
    assert any(is_noted for _, is_noted in speculation.steps)
    long = row(text(LONGEST_BESIDE + 100, seed=2), max_tokens=1)
    scheduler.add(long)
    while not any(made is long for made, _ in scheduler.step()):
        pass
    scheduler.close()
    disturbed = [is_noted for is_undisturbed, is_noted in speculation.steps if not is_undisturbed]
    assert len(disturbed) > 2
    assert not any(disturbed)


@given(tokens=st.lists(st.integers(0, 4), min_size=1, max_size=60), count=st.integers(1, 8))
def test_a_lookup_says_what_followed_the_same_words_before(tokens: list[int], count: int) -> None:
    lookup = Lookup()
    for end in range(1, len(tokens) + 1):  # it learns as the text grows
        lookup.may_guess(tokens[:end])
    guess = lookup.guess(tokens, count)
    assert len(guess) <= count
    if guess:
        joined = [*tokens[-2:], *guess]
        assert any(
            tokens[place : place + len(joined)] == joined for place in range(len(tokens) - len(joined) + 1)
        )
    elif len(tokens) > 3:
        assert all(tokens[place : place + 3] != tokens[-3:] for place in range(len(tokens) - 3))
