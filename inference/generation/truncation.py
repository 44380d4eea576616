"""Which tokens may not come, beside those that top_p, top_k and min_p leave out: top_a, typical_p and XTC.

Imports mlx: loaded by the model process only. Nothing here is drawn, and no row is changed by what another
one asks for. Of each row what is left is at least one token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlx.core as mx

from inference.hardware.on_cpu import logsumexp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inference.generation.sampling import Draw

NO_TOKEN = -1


def cut(scores: Any, tokens: Any, draws: Sequence[Draw]) -> Any:
    """`scores` [rows, some], with -inf for what may not come: logits after the temperature, but for a number
    that is the same for the whole row. They are those of `tokens` [rows or 1, some].
    """
    if any(one.sampling.top_a > 0 for one in draws):
        scores = _top_a(scores, draws)
    if any(one.sampling.typical_p < 1 for one in draws):
        scores = _typical(scores, draws)
    if any(one.excludes for one in draws):
        scores = _without_top_choices(scores, tokens, draws)
    return scores


def _top_a(scores: Any, draws: Sequence[Draw]) -> Any:
    """Tokens whose probability is at least `top_a` times the square of the highest one's."""
    logprobs = scores - logsumexp(scores)
    highest = mx.exp(logprobs.max(axis=-1, keepdims=True))
    least = _column([one.sampling.top_a for one in draws]) * highest * highest
    return mx.where(mx.exp(logprobs) >= least, scores, -mx.inf)


def _typical(scores: Any, draws: Sequence[Draw]) -> Any:
    """Locally typical sampling (Meister and others, 2022): of the tokens whose information is closest to what
    is to be expected, as many as it takes to hold `typical_p` of the probability.
    """
    logprobs = scores - logsumexp(scores)
    probabilities = mx.exp(logprobs)
    entropy = mx.where(probabilities > 0, -logprobs * probabilities, 0).sum(axis=-1, keepdims=True)
    distance = mx.abs(-logprobs - entropy)
    order = mx.argsort(distance, axis=-1)
    held = mx.cumsum(mx.take_along_axis(probabilities, order, axis=-1), axis=-1)
    wanted = _column([one.sampling.typical_p for one in draws])
    last = mx.minimum((held < wanted).sum(axis=-1, keepdims=True), scores.shape[-1] - 1)
    farthest = mx.take_along_axis(distance, mx.take_along_axis(order, last, axis=-1), axis=-1)
    return mx.where((distance <= farthest) | (wanted >= 1), scores, -mx.inf)


def _without_top_choices(scores: Any, tokens: Any, draws: Sequence[Draw]) -> Any:
    """XTC, as mlx-lm defines it: of the tokens that are likelier than the threshold, by the model's own
    probabilities without a temperature, only the least likely one stays, and those that are never removed.
    """
    own = scores * _column([one.sampling.temperature for one in draws])
    probabilities = mx.exp(own - logsumexp(own))
    is_likely = probabilities > _column([one.sampling.xtc_threshold for one in draws])
    least = mx.where(is_likely, probabilities, mx.inf).min(axis=-1, keepdims=True)
    goes = (probabilities > least) & ~_is_special(tokens, draws) & _column([one.excludes for one in draws])
    return mx.where(goes, -mx.inf, scores)


def _is_special(tokens: Any, draws: Sequence[Draw]) -> Any:
    """Which of `tokens` XTC leaves alone, for each row."""
    special = [one.sampling.xtc_special_tokens for one in draws]
    most = max(1, *map(len, special))
    filled = mx.array([[*some, *[NO_TOKEN] * (most - len(some))] for some in special], dtype=mx.int32)
    return (tokens.astype(mx.int32)[..., None] == filled.reshape(len(draws), 1, most)).any(axis=-1)


def _column(values: list[Any]) -> Any:
    return mx.array(values)[:, None]
