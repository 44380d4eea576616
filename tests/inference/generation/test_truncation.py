"""Tokens that may not come: XTC against mlx-lm's own function, the others against their papers in numpy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.sample_utils import apply_min_p, apply_top_k, apply_top_p, apply_xtc

from inference.generation.sampling import Draw, draw
from inference.work import Sampling

VOCABULARY = 400
DRAWS = 20_000
ALWAYS = Sampling(xtc_probability=1)


@pytest.fixture
def logits() -> mx.array:
    mx.random.seed(5)
    return mx.random.normal((1, VOCABULARY)) * 3


def frequencies(logits: mx.array, sampling: Sampling, count: int = DRAWS) -> Any:
    """How often each token comes, in one call as for a batch of that many rows."""
    rows = mx.broadcast_to(logits, (count, logits.shape[-1]))
    drawn = draw(rows, [Draw(sampling, seed=3, place=place) for place in range(count)])
    return np.bincount(np.array(drawn), minlength=logits.shape[-1]) / count


def kept(logits: mx.array, sampling: Sampling) -> set[int]:
    return {int(token) for token in np.flatnonzero(frequencies(logits, sampling))}


def probabilities(logits: Any, temperature: float = 1) -> Any:
    scaled = np.array(logits, dtype=np.float64).reshape(-1) / temperature
    scaled = np.exp(scaled - scaled.max())
    return scaled / scaled.sum()


def logprobs(logits: mx.array) -> mx.array:
    return logits - mx.logsumexp(logits, axis=-1, keepdims=True)


def assert_drawn_from(found: Any, expected: Any) -> None:
    """By frequencies that differ by no more than chance lets them, and nothing that cannot come."""
    assert not found[expected == 0].any()
    deviation = np.sqrt(expected * (1 - expected) / DRAWS)
    assert (np.abs(found - expected) <= 5 * deviation + 2 / DRAWS).all()


@pytest.mark.parametrize("threshold", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("special", [(), "likeliest"])
def test_xtc_leaves_what_it_leaves_in_mlx_lm(logits: mx.array, threshold: float, special: Any) -> None:
    spared = tuple(np.argsort(-np.array(logits[0]))[:1].tolist()) if special else ()
    expected = apply_xtc(logprobs(logits), 1.0, threshold, [*spared])
    sampling = replace(ALWAYS, xtc_threshold=threshold, xtc_special_tokens=spared)
    assert_drawn_from(frequencies(logits, sampling), probabilities(expected))


@pytest.mark.parametrize("temperature", [0.6, 1.5])
def test_xtc_looks_at_probabilities_without_the_temperature(logits: mx.array, temperature: float) -> None:
    """In mlx-lm the temperature comes last."""
    expected = probabilities(apply_xtc(logprobs(logits), 1.0, 0.1, []), temperature)
    sampling = replace(ALWAYS, temperature=temperature)
    assert_drawn_from(frequencies(logits, sampling), expected)


def test_xtc_comes_after_top_p_and_min_p_and_before_top_k_as_in_mlx_lm(logits: mx.array) -> None:
    sampling = replace(ALWAYS, top_p=0.9, min_p=0.02, top_k=3, xtc_threshold=0.1)
    left = apply_min_p(apply_top_p(logprobs(logits), 0.9), 0.02)
    expected = apply_top_k(apply_xtc(left, 1.0, 0.1, []), 3)
    assert np.isfinite(np.array(expected)).sum() == 3
    assert_drawn_from(frequencies(logits, sampling), probabilities(expected))
    only_one = replace(sampling, top_k=1)
    assert kept(logits, only_one) == {int(np.array(expected).argmax())}


def test_xtc_happens_as_often_as_it_is_asked_to(logits: mx.array) -> None:
    plain = probabilities(logits)
    without = probabilities(apply_xtc(logprobs(logits), 1.0, 0.1, []))
    for share in (0.25, 0.75):
        expected = share * without + (1 - share) * plain
        assert_drawn_from(frequencies(logits, Sampling(xtc_probability=share)), expected)


def test_xtc_does_nothing_at_temperature_zero(logits: mx.array) -> None:
    assert kept(logits, replace(ALWAYS, temperature=0)) == {int(np.array(logits).argmax())}


@pytest.mark.parametrize("top_a", [0.05, 0.5, 1])
def test_top_a_leaves_what_is_likely_enough_beside_the_square_of_the_likeliest(
    logits: mx.array, top_a: float
) -> None:
    expected = probabilities(logits)
    expected = np.where(expected >= top_a * expected.max() ** 2, expected, 0)
    assert_drawn_from(frequencies(logits, Sampling(top_a=top_a)), expected / expected.sum())


def typical(chances: Any, mass: float) -> Any:
    """By the paper: sorted by how far their information is from the entropy, until they hold the mass."""
    information = -np.log(chances)
    distance = np.abs(information - (chances * information).sum())
    order = np.argsort(distance, kind="stable")
    count = int((np.cumsum(chances[order]) < mass).sum()) + 1
    left = np.zeros_like(chances)
    left[order[:count]] = chances[order[:count]]
    return left / left.sum()


@pytest.mark.parametrize("mass", [0, 0.2, 0.6, 0.95])
@pytest.mark.parametrize("temperature", [1, 1.6])
def test_typical_tokens_are_those_of_the_paper(logits: mx.array, mass: float, temperature: float) -> None:
    expected = typical(probabilities(logits, temperature), mass)
    sampling = Sampling(temperature=temperature, typical_p=mass)
    assert_drawn_from(frequencies(logits, sampling), expected)


def test_typical_tokens_are_looked_for_among_those_that_top_k_leaves(logits: mx.array) -> None:
    likeliest = np.argsort(-np.array(logits[0]))[:20]
    expected = np.zeros(VOCABULARY)
    expected[likeliest] = typical(probabilities(logits[0, mx.array(likeliest)]), 0.5)
    assert_drawn_from(frequencies(logits, Sampling(top_k=20, typical_p=0.5)), expected)


@pytest.mark.parametrize("least", [1, 2, 6])
def test_min_p_leaves_at_least_so_many_tokens(logits: mx.array, least: int) -> None:
    expected = apply_min_p(logprobs(logits), 0.6, least)
    sampling = Sampling(min_p=0.6, min_tokens_to_keep=least)
    assert_drawn_from(frequencies(logits, sampling), probabilities(expected))


def test_rows_that_ask_for_it_and_others_are_drawn_as_each_alone() -> None:
    wanted = [
        Sampling(),
        replace(ALWAYS, xtc_threshold=0.01),
        Sampling(top_p=0.8),
        replace(ALWAYS, top_p=0.9, xtc_special_tokens=(1, 2, 3)),
        Sampling(typical_p=0.3),
        Sampling(temperature=0),
        Sampling(top_a=0.4, min_p=0.01, min_tokens_to_keep=3),
        Sampling(xtc_probability=0.5, typical_p=0.7, temperature=1.4),
    ]
    mx.random.seed(2)
    rows = mx.random.normal((len(wanted), VOCABULARY)) * 3
    for place in range(20):
        draws = [Draw(sampling, seed=31 + row, place=place) for row, sampling in enumerate(wanted)]
        alone = [draw(rows[row : row + 1], [one]).tolist()[0] for row, one in enumerate(draws)]
        assert draw(rows, draws).tolist() == alone
        order = [3, 1, 5, 0, 4, 2, 7, 6]
        assert draw(rows[mx.array(order)], [draws[row] for row in order]).tolist() == [
            alone[row] for row in order
        ]
