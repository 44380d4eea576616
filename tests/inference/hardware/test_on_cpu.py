"""Attention and gates on a CPU are those of MLX, and more exact.

The oracles are mlx-lm's functions, and numpy with float64.
"""

from __future__ import annotations

import math
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx import nn
from mlx_lm.models.activations import swiglu as mlx_swiglu
from mlx_lm.models.base import create_causal_mask
from mlx_lm.models.base import scaled_dot_product_attention as mlx_attention

from inference.hardware import on_cpu

pytestmark = pytest.mark.skipif(not on_cpu.computes_on_cpu(), reason="for CPUs")
FLOAT_STEP = 2.0**-23
HEADS, SHARED, DIMENSIONS = 6, 2, 16
SCALE = DIMENSIONS**-0.5


def random_attention(rows: int, tokens: int, length: int) -> tuple[Any, Any, Any]:
    mx.random.seed(rows + tokens + length)
    queries = mx.random.normal((rows, HEADS, tokens, DIMENSIONS))
    keys, values = (mx.random.normal((rows, SHARED, length + 50, DIMENSIONS)) for _ in range(2))
    return queries, keys[:, :, :length], values[:, :, :length]


def far_apart(one: Any, other: Any) -> Any:
    return mx.abs(one - other).max().item()


def test_exponentials_are_exact_to_the_last_bits() -> None:
    x = mx.array(np.linspace(-86.9, 0, 100_001, dtype=np.float32))
    expected = np.exp(np.array(x, dtype=np.float64))
    relative = np.abs(np.array(on_cpu.exp_below(x, mx.array(0.0))) / expected - 1)
    assert relative.max() < 2 * FLOAT_STEP


def test_what_is_hidden_counts_for_nothing() -> None:
    lowest = float(mx.finfo(mx.float32).min)
    found = on_cpu.exp_below(mx.array([lowest, -math.inf, -1e30, -200.0, 3.0]), mx.array(3.0)).tolist()
    assert max(found[:4]) < 1e-37
    assert found[4] == 1


@pytest.mark.parametrize("length", [40, 700, 3000])
@pytest.mark.parametrize("tokens", [1, 2, 7, 40])
@pytest.mark.parametrize("rows", [1, 5])
def test_attention_is_that_of_mlx(rows: int, tokens: int, length: int) -> None:
    queries, keys, values = random_attention(rows, tokens, length)
    padding = mx.arange(rows)
    masks: list[Any] = [None, "causal", create_causal_mask(tokens, length - tokens)]
    masks += [create_causal_mask(tokens, length - tokens, left_padding=padding, window_size=20)]
    for mask in masks:
        expected = mlx_attention(queries, keys, values, cache=None, scale=SCALE, mask=mask)
        found = on_cpu.attention(queries, keys, values, cache=None, scale=SCALE, mask=mask)
        assert found.shape == expected.shape
        assert far_apart(found, expected) < 1e-5


def test_scores_far_from_each_other_stay_finite() -> None:
    queries, keys, values = random_attention(1, 30, 600)
    mask: Any = "causal"
    expected = mlx_attention(queries * 500, keys, values, cache=None, scale=SCALE, mask=mask)
    found = on_cpu.attention(queries * 500, keys, values, cache=None, scale=SCALE, mask="causal")
    assert far_apart(found, expected) < 1e-3


@pytest.mark.parametrize("size", [8, 200_001])
def test_a_gelu_is_as_exact_as_that_of_mlx(size: int) -> None:
    x = np.linspace(-9, 9, size, dtype=np.float32)
    expected = np.array([0.5 * value * (1 + math.erf(value / math.sqrt(2))) for value in x.tolist()])
    far = [np.abs(np.array(one(mx.array(x))) - expected).max() for one in (on_cpu.gelu, nn.gelu)]
    assert far[0] <= far[1] + FLOAT_STEP
    assert math.isnan(on_cpu.gelu(mx.full((size,), math.nan))[0].item())


@pytest.mark.parametrize("shape", [(1, 1, 8), (3, 40, 100), (1, 1, 20_000)])
def test_gates_are_those_of_mlx(shape: tuple[int, ...]) -> None:
    mx.random.seed(1)
    gate, x = (mx.random.normal(shape) * scale for scale in (60, 1))
    assert far_apart(on_cpu.swiglu(gate, x), mlx_swiglu(gate, x)) < 1e-4


@pytest.mark.parametrize("scale", [1.0, 60.0])
def test_sums_of_exponentials_are_those_of_mlx(scale: float) -> None:
    mx.random.seed(3)
    logits = mx.random.normal((5, 3000)) * scale
    logits[1, 10:] = -mx.inf  # as a grammar does it
    expected = np.log(np.exp(np.array(logits, dtype=np.float64)).sum(axis=-1, keepdims=True))
    found = on_cpu.logsumexp(logits)
    assert found.shape == (5, 1)
    assert np.abs(np.array(found) - expected).max() <= 4 * FLOAT_STEP * np.abs(expected).max()
    assert on_cpu.logsumexp(logits.astype(mx.bfloat16)).dtype == mx.bfloat16


def test_other_types_and_sinks_are_left_to_mlx() -> None:
    queries, keys, values = (array.astype(mx.bfloat16) for array in random_attention(1, 20, 500))
    found = on_cpu.attention(queries, keys, values, cache=None, scale=SCALE, mask="causal")
    assert found.dtype == mx.bfloat16
    queries, keys, values = random_attention(1, 20, 500)
    sinks = mx.ones(HEADS)
    options: dict[str, Any] = {"cache": None, "scale": SCALE, "mask": "causal", "sinks": sinks}
    expected = mlx_attention(queries, keys, values, **options)
    assert far_apart(on_cpu.attention(queries, keys, values, **options), expected) == 0
