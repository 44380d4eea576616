"""What changes logits before they are drawn from: OpenAI's formulas, vLLM's rules and mlx-lm's functions."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.sample_utils import make_logits_processors

from inference.generation.processors import processors_for
from inference.work import Sampling

VOCABULARY = 5000
PROMPT, COMPLETION = [1, 2, 2, 3, 9], [3, 4, 4, 4, 7]


@pytest.fixture
def logits() -> mx.array:
    mx.random.seed(7)
    return mx.random.normal((1, VOCABULARY)) * 3


def likeliest(logits: mx.array) -> int:
    return int(np.array(logits).argmax())


def changed(logits: mx.array, sampling: Sampling, completion: list[int]) -> Any:
    result = logits + 0
    for processor in processors_for(sampling, prompt_length=len(PROMPT)):
        result = processor(mx.array(PROMPT + completion), result)
    return np.array(result[0])


def banned(logits: mx.array, sampling: Sampling, completion: list[int]) -> set[int]:
    return {int(token) for token in np.flatnonzero(np.isinf(changed(logits, sampling, completion)))}


def test_penalties_follow_the_formula_and_look_at_the_completion_only(logits: mx.array) -> None:
    prompt, completion = [1, 2, 2, 3], [3, 4, 4, 4]
    sampling = Sampling(frequency_penalty=0.5, presence_penalty=0.25)
    (penalise,) = processors_for(sampling, prompt_length=len(prompt))
    expected = np.array(logits[0], dtype=np.float64)
    for token in set(completion):
        expected[token] -= completion.count(token) * 0.5 + 0.25
    result = np.array(penalise(mx.array(prompt + completion), logits)[0])
    assert np.allclose(result, expected, atol=1e-5)


def test_penalties_change_nothing_before_the_first_token(logits: mx.array) -> None:
    (penalise,) = processors_for(Sampling(presence_penalty=2), prompt_length=3)
    assert mx.array_equal(penalise(mx.array([1, 2, 3]), logits), logits)


def test_repetition_penalty_counts_prompt_and_completion_once(logits: mx.array) -> None:
    (penalise,) = processors_for(Sampling(repetition_penalty=1.3), prompt_length=2)
    expected = np.array(logits[0])
    for token in (1, 2, 9):
        expected[token] = expected[token] / 1.3 if expected[token] > 0 else expected[token] * 1.3
    assert np.allclose(np.array(penalise(mx.array([1, 2, 9, 9]), logits)[0]), expected, atol=1e-5)


def test_logit_bias_is_added_and_can_ban_a_token(logits: mx.array) -> None:
    best = likeliest(logits)
    (bias,) = processors_for(Sampling(logit_bias=((best, -100.0), (3, 100.0))), prompt_length=1)
    assert likeliest(bias(mx.array([1]), logits)) == 3


def test_min_tokens_bans_stop_tokens_until_there_are_enough(logits: mx.array) -> None:
    (ban,) = processors_for(Sampling(), prompt_length=2, min_tokens=2, stop_tokens=(7,))
    assert ban(mx.array([1, 1, 5]), logits)[0, 7].item() == -mx.inf
    assert ban(mx.array([1, 1, 5, 5]), logits)[0, 7].item() == logits[0, 7].item()


def test_rows_that_ask_for_nothing_have_no_processors() -> None:
    assert processors_for(Sampling(temperature=0.3, top_p=0.5, seed=1), prompt_length=9) == []


@pytest.mark.parametrize("size", [0, 1, 3, 7, 20])
@pytest.mark.parametrize("name", ["repetition", "presence", "frequency"])
def test_a_context_size_is_what_mlx_lm_makes_of_it(logits: mx.array, name: str, size: int) -> None:
    """That is so many of the last tokens of prompt and completion, and all of them for 0."""
    asked: dict[str, Any] = {f"{name}_penalty": 1.4, f"{name}_context_size": size}
    expected = logits + 0
    for processor in make_logits_processors(**asked):
        expected = processor(mx.array(PROMPT + COMPLETION), expected)
    ours = changed(logits, Sampling(**asked), COMPLETION)
    assert np.allclose(ours, np.array(expected[0]), atol=1e-5)
    assert not np.array_equal(ours, np.array(logits[0]))


def test_each_penalty_looks_at_as_much_as_it_is_to(logits: mx.array) -> None:
    sampling = Sampling(frequency_penalty=0.5, presence_penalty=0.25, presence_context_size=2)
    expected = np.array(logits[0], dtype=np.float64)
    for token in set(COMPLETION):
        expected[token] -= COMPLETION.count(token) * 0.5
    expected[[4, 7]] -= 0.25
    assert np.allclose(changed(logits, sampling, COMPLETION), expected, atol=1e-5)


def test_nothing_but_allowed_tokens_is_left(logits: mx.array) -> None:
    sampling = Sampling(allowed_token_ids=(5, 8), logit_bias=((6, 100.0),))
    assert banned(logits, sampling, []) == set(range(VOCABULARY)) - {5, 8}


def test_a_bad_word_is_never_finished(logits: mx.array) -> None:
    """Only where the completion ends with its beginning: what stands in the prompt does not count."""
    sampling = Sampling(bad_words=((11,), (4, 12), (4, 7, 13), (9, 14), (3, 4, 4, 4, 7, 15)))
    assert banned(logits, sampling, []) == {11}
    assert banned(logits, sampling, [4]) == {11, 12}
    assert banned(logits, sampling, [4, 7]) == {11, 13}
    assert banned(logits, sampling, [5, 7]) == {11}
    assert banned(logits, sampling, COMPLETION) == {11, 13, 15}


def test_two_bad_words_with_the_same_end_are_banned_by_either_beginning(logits: mx.array) -> None:
    sampling = Sampling(bad_words=((4, 12), (5, 12)))
    assert banned(logits, sampling, [5]) == banned(logits, sampling, [4]) == {12}
    assert banned(logits, sampling, [6]) == set()
