"""Sampling, against OpenAI's definitions computed the slow way with numpy."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

from inference.generation.sampling import NUCLEUS_LIMIT, Draw, draw, seed_of, top_tokens
from inference.work import Sampling

VOCABULARY = 5000
DRAWS = 4000


@pytest.fixture
def logits() -> mx.array:
    mx.random.seed(7)
    return mx.random.normal((1, VOCABULARY)) * 3


def draws_of(logits: mx.array, sampling: Sampling, count: int = DRAWS) -> list[int]:
    """Many draws, made in one call as for a batch of that many rows."""
    rows = mx.broadcast_to(logits, (count, logits.shape[-1]))
    tokens = draw(rows, [Draw(sampling, seed=9, place=place) for place in range(count)]).tolist()
    assert isinstance(tokens, list)
    return tokens


def drawn(logits: mx.array, sampling: Sampling) -> set[int]:
    return set(draws_of(logits, sampling))


def likeliest(logits: mx.array) -> int:
    return int(np.array(logits).argmax())


def nucleus(logits: mx.array, *, temperature: float, top_p: float) -> set[int]:
    """The smallest set of the likeliest tokens that holds `top_p` of the probability."""
    scaled = np.array(logits[0], dtype=np.float64) / temperature
    probabilities = np.exp(scaled - scaled.max())
    probabilities /= probabilities.sum()
    order = np.argsort(-probabilities)
    count = int(np.searchsorted(np.cumsum(probabilities[order]), top_p)) + 1
    return {int(token) for token in order[:count]}


def test_temperature_zero_takes_the_likeliest_token(logits: mx.array) -> None:
    assert drawn(logits, Sampling(temperature=0)) == {likeliest(logits)}


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_top_p_chooses_among_the_nucleus_after_the_temperature(logits: mx.array, temperature: float) -> None:
    allowed = nucleus(logits, temperature=temperature, top_p=0.3)
    assert len(allowed) < NUCLEUS_LIMIT
    found = drawn(logits, Sampling(temperature=temperature, top_p=0.3))
    assert found <= allowed
    assert nucleus(logits, temperature=temperature, top_p=0.1) <= found


def test_top_p_zero_still_leaves_one_token(logits: mx.array) -> None:
    assert drawn(logits, Sampling(top_p=0)) == {likeliest(logits)}


def test_top_k_chooses_among_as_many_tokens(logits: mx.array) -> None:
    allowed = set(np.argsort(-np.array(logits[0]))[:5].tolist())
    assert drawn(logits, Sampling(temperature=2, top_k=5)) == allowed


def test_min_p_drops_what_is_less_likely_than_its_share_of_the_best(logits: mx.array) -> None:
    values = np.array(logits[0])
    allowed = set(np.flatnonzero(values >= values.max() + np.log(0.2)).tolist())
    assert drawn(logits, Sampling(min_p=0.2)) == allowed


def test_temperature_changes_the_frequencies_as_defined() -> None:
    logits = mx.array([[0.0, 1.0, 2.0]])
    counts = np.bincount(draws_of(logits, Sampling(temperature=2), 20_000), minlength=3) / 20_000
    expected = np.exp(np.array([0, 0.5, 1.0]))
    assert np.abs(counts - expected / expected.sum()).max() < 0.02


def test_the_frequencies_within_a_nucleus_are_those_of_the_model() -> None:
    logits = mx.array([[0.0, 1.0, 2.0, -4.0]])
    counts = np.bincount(draws_of(logits, Sampling(top_p=0.97), 20_000), minlength=4) / 20_000
    expected = np.exp(np.array([0, 1.0, 2.0, -np.inf]))
    assert np.abs(counts - expected / expected.sum()).max() < 0.02


def test_rows_that_ask_for_different_things_are_drawn_as_each_alone(logits: mx.array) -> None:
    wanted = [
        Sampling(temperature=0),
        Sampling(temperature=1.3),
        Sampling(top_p=0.4),
        Sampling(top_k=3, temperature=0.7),
        Sampling(min_p=0.1),
        Sampling(temperature=0, top_p=0.2),
    ]
    draws = [Draw(sampling, seed=31, place=place) for place, sampling in enumerate(wanted)]
    rows = mx.random.normal((len(wanted), VOCABULARY)) * 3
    alone = [draw(rows[place : place + 1], [one]).tolist()[0] for place, one in enumerate(draws)]
    assert draw(rows, draws).tolist() == alone
    order = [3, 1, 5, 0, 4, 2]
    shuffled = draw(rows[mx.array(order)], [draws[place] for place in order])
    assert shuffled.tolist() == [alone[place] for place in order]


def test_a_seed_gives_the_same_numbers_again_and_other_choices_other_ones(logits: mx.array) -> None:
    def first_draws(seed: int, choice: int) -> list[int]:
        sampling = Sampling(temperature=1.5, seed=seed)
        return [
            draw(logits, [Draw(sampling, seed_of(sampling, choice), place)]).tolist()[0] for place in range(8)
        ]

    assert first_draws(5, 0) == first_draws(5, 0)
    assert first_draws(5, 0) != first_draws(5, 1)
    assert first_draws(5, 0) != first_draws(6, 0)
    assert first_draws(-5, 0) == first_draws(-5, 0)


@pytest.mark.parametrize("sampling", [Sampling(top_p=0.95), Sampling(top_k=1000), Sampling(min_p=1e-4)])
def test_the_last_bits_of_the_logits_do_not_change_what_a_seed_draws(sampling: Sampling) -> None:
    """They depend on how many rows there are. Only a token on the edge of the nucleus may differ by it."""
    count = 2000
    mx.random.seed(11)
    rows = mx.random.normal((count, VOCABULARY)) * 1.5
    nearly = rows + 3e-5 * mx.random.normal(rows.shape)
    draws = [Draw(sampling, seed=3, place=place) for place in range(count)]
    differing = (draw(rows, draws) != draw(nearly, draws)).sum().item()
    assert differing <= 2  # by their rank, dozens were


def test_rows_without_a_seed_differ() -> None:
    assert len({seed_of(Sampling()) for _ in range(50)}) == 50


def test_top_tokens_are_the_likeliest_in_order(logits: mx.array) -> None:
    tokens, values = top_tokens(logits, 4)
    assert tokens[0].tolist() == np.argsort(-np.array(logits[0]))[:4].tolist()
    assert values[0].tolist() == sorted(values[0].tolist(), reverse=True)


def test_a_vocabulary_smaller_than_the_limit_can_be_drawn_from() -> None:
    assert drawn(mx.array([[0.0, 5.0, 1.0]]), Sampling(top_p=0.5)) == {1}
