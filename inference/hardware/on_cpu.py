"""Attention, gates and probabilities on a Linux CPU, where MLX computes exponentials number by number.

Imports mlx: loaded by the model process only. Of attention over a few thousand tokens, those exponentials are
two thirds of the time, and of a gate nearly all. Here they are made of additions and products, which
compilers turn into vector instructions: a fifth of the time, and twenty times as exact. The rest of attention
is as MLX's, but heads that share their keys are multiplied with them at once, and large chunks bit by bit, so
that what lies between two operations stays near the processor.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import mlx.core as mx
from mlx import nn
from mlx_lm.models.activations import swiglu as mlx_swiglu
from mlx_lm.models.base import scaled_dot_product_attention as mlx_attention

if TYPE_CHECKING:
    from collections.abc import Mapping

FEWEST_SCORES, FEWEST_GATES = 2**12, 3 * 2**10
"""With fewer, MLX's single operation is faster than our several."""
MOST_SCORES = 2**19
"""So many are computed at once, which is two megabytes."""
LOWEST, HIGHEST = -87.0, 87.0
"""Where exponentials are near the ends of what float32 can hold."""
LOG2_E = 1.4426950408889634
LN2_HIGH, LN2_LOW = 0.693359375, -2.12194440e-4
"""ln 2 in two parts, of which a product of the first with a small whole number is exact."""
POLYNOMIAL = (
    1.9890980864e-4,
    1.3933641032e-3,
    8.3333109345e-3,
    4.1666465006e-2,
    1.6666666682e-1,
    5.0000000135e-1,
)
"""Of (exp(x) - 1 - x) / x², the highest power first: what goes through it at the six Chebyshev nodes within
half of ln 2 of 0. That makes exp(x) right to 2.2e-10 of itself, and float32 tells 6e-8."""
ERFC_SLOPE = 0.3275911 / math.sqrt(2)
ERFC = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
"""Of t = 1 / (1 + 0.3275911 z), times t exp(-z²): erfc(z) to 1.5e-7 (Abramowitz and Stegun, 7.1.26)."""
ROUNDER = 1.5 * 2**23
"""What is added to it in float32 becomes whole, and stands in its lowest bits."""
EXPONENT_SHIFT, EXPONENT_OF_ONE = 23, 127 << 23


def computes_on_cpu() -> bool:
    """Whether there is no GPU that MLX knows."""
    return bool(mx.default_device() == mx.Device(mx.cpu))


@partial(mx.compile, shapeless=True)
def _begin_below(x: Any, highest: Any) -> tuple[Any, Any]:
    x = mx.maximum(x - highest, LOWEST)
    return x, x * LOG2_E + ROUNDER


@partial(mx.compile, shapeless=True)
def _begin_of_negative(x: Any) -> tuple[Any, Any]:
    x = mx.minimum(mx.maximum(-x, LOWEST), HIGHEST)
    return x, x * LOG2_E + ROUNDER


@partial(mx.compile, shapeless=True)
def _shifted(bits: Any) -> Any:
    return (bits << EXPONENT_SHIFT) + EXPONENT_OF_ONE


def _series(x: Any, rounded: Any, power: Any) -> Any:
    whole = rounded - ROUNDER
    rest = x - whole * LN2_HIGH - whole * LN2_LOW
    series = POLYNOMIAL[0]
    for factor in POLYNOMIAL[1:]:
        series = series * rest + factor
    return (series * rest * rest + rest + 1.0) * power


_end = partial(mx.compile, shapeless=True)(_series)


@partial(mx.compile, shapeless=True)
def _end_gated(x: Any, rounded: Any, power: Any, gate: Any, other: Any) -> Any:
    return gate / (1.0 + _series(x, rounded, power)) * other


@partial(mx.compile, shapeless=True)
def _end_of_gelu(negative: Any, rounded: Any, power: Any, x: Any) -> Any:
    """x/2 (1 + erf(x/√2)), where erfc of what is positive is a polynomial times exp(-x²/2)."""
    t = 1.0 / (1.0 + ERFC_SLOPE * mx.abs(x))
    series: Any = ERFC[0]
    for factor in ERFC[1:]:
        series = series * t + factor
    tail = series * t * _series(negative, rounded, power)
    return 0.5 * (x + mx.abs(x) * (1.0 - tail))


def _power_of(rounded: Any) -> Any:
    """2 to the power of what was rounded. Its own step: MLX cannot fuse a change of type of the same bits."""
    return _shifted(rounded.view(mx.uint32)).view(mx.float32)


def exp_below(x: Any, highest: Any) -> Any:
    """exp(x - highest), float32, where `highest` is no less than `x`; no less than exp(LOWEST)."""
    below, rounded = _begin_below(x, highest)
    return _end(below, rounded, _power_of(rounded))


def logsumexp(logits: Any) -> Any:
    """In place of MLX's, over the last axis, which is kept: of each row of a vocabulary."""
    if not _is_ours(logits):
        return mx.logsumexp(logits, axis=-1, keepdims=True)
    highest = logits.max(axis=-1, keepdims=True)
    return mx.log(exp_below(logits, highest).sum(axis=-1, keepdims=True)) + highest


def swiglu(gate: Any, x: Any) -> Any:
    """In place of mlx-lm's: silu(gate) * x."""
    if not _is_ours(gate) or gate.dtype != x.dtype or gate.size < FEWEST_GATES:
        return mlx_swiglu(gate, x)
    negative, rounded = _begin_of_negative(gate)
    return _end_gated(negative, rounded, _power_of(rounded), gate, x)


def gelu(x: Any) -> Any:
    """In place of MLX's, which is exact."""
    if not _is_ours(x) or x.size < FEWEST_GATES:
        return nn.gelu(x)
    negative, rounded = _begin_of_negative(x * x * 0.5)
    return _end_of_gelu(negative, rounded, _power_of(rounded), x)


def attention(queries: Any, keys: Any, values: Any, *, scale: float, mask: Any, **others: Any) -> Any:
    """In place of mlx-lm's, of the same arguments: [rows, heads, tokens, dimensions] of queries."""
    rows, heads, tokens, _ = queries.shape
    scores = rows * heads * tokens * keys.shape[-2]
    if not is_usual(queries, others) or scores < FEWEST_SCORES or not _can_add(mask):
        return mlx_attention(queries, keys, values, scale=scale, mask=mask, **{"cache": None, **others})
    at_once = max(tokens // math.ceil(scores / MOST_SCORES), 1)
    found = []
    for begin in range(0, tokens, at_once):
        some = queries[:, :, begin : begin + at_once] * scale
        if isinstance(mask, str):  # it looks no further than itself
            visible = keys.shape[-2] - tokens + begin + some.shape[-2]
            found.append(_attend(some, keys[:, :, :visible], values[:, :, :visible], _causal(some.shape[-2])))
        else:
            seen = mask if mask is None or mask.shape[-2] == 1 else mask[..., begin : begin + at_once, :]
            found.append(_attend(some, keys, values, None if seen is None else _added(seen)))
    return found[0] if len(found) == 1 else mx.concatenate(found, axis=2)


def is_usual(queries: Any, others: Mapping[str, Any]) -> bool:
    """Whether attention is of float32 numbers, and of no special kind."""
    return others.get("sinks") is None and not hasattr(others.get("cache"), "bits") and _is_ours(queries)


def _attend(queries: Any, keys: Any, values: Any, added: Any) -> Any:
    """What is `added` to the scores is for their last tokens, as many as it has."""
    rows, heads, tokens, dimensions = queries.shape
    shared = keys.shape[1]
    each = heads // shared
    scores = queries.reshape(rows, shared, each * tokens, dimensions) @ keys.swapaxes(-1, -2)
    if added is not None:
        length, width = scores.shape[-1], added.shape[-1]
        scores = scores.reshape(rows, shared, each, tokens, length)
        if width == length:
            scores = scores + added
        else:
            scores[..., length - width :] = scores[..., length - width :] + added
        scores = scores.reshape(rows, shared, each * tokens, length)
    weights = exp_below(scores, scores.max(axis=-1, keepdims=True))
    found = (weights @ values) / weights.sum(axis=-1, keepdims=True)
    return found.reshape(rows, heads, tokens, values.shape[-1])


def _causal(tokens: int) -> Any:
    """For the last tokens among themselves."""
    return _added(mx.arange(tokens)[:, None] >= mx.arange(tokens)[None])


def _can_add(mask: Any) -> bool:
    """Whether it says of each token what it may see, alike for all heads."""
    if not isinstance(mask, mx.array):
        return mask is None or mask == "causal"
    return mask.dtype == mx.bool_ and all(size == 1 for size in mask.shape[1:-2])


def _added(mask: Any) -> Any:
    """For scores [rows, shared heads, heads of each, tokens, length]."""
    added = mx.where(mask, 0.0, mx.finfo(mx.float32).min)
    return added.reshape(-1, 1, 1, *mask.shape[-2:])


def _is_ours(array: Any) -> bool:
    return array.dtype == mx.float32 and computes_on_cpu()
