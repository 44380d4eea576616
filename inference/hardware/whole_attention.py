"""Attention of a prompt's tokens on a Linux CPU, all at once and at once: by attention.cpp.

Imports mlx: loaded by the model process only. What MLX is asked for it computes when somebody wants it; this
is computed in the call. So it is for passes that are waited for anyway, and not for those in which rows
decode: their last tokens would be told after the next step.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np

from inference.hardware import on_cpu
from inference.hardware.kernels import loaded

if TYPE_CHECKING:
    from collections.abc import Sequence

FEWEST_TOKENS = 9
"""Of fewer, most of the time goes into fetching keys and values, and MLX does that as well."""


class Heads(ctypes.Structure):
    """An array [rows, heads, tokens, dimensions]: where it begins, and how many numbers lie between two."""

    _fields_ = (
        ("begin", ctypes.c_void_p),
        ("row", ctypes.c_int64),
        ("head", ctypes.c_int64),
        ("token", ctypes.c_int64),
    )

    @classmethod
    def of(cls, array: np.ndarray) -> Heads:
        return cls(array.ctypes.data, *(stride // array.itemsize for stride in array.strides[:3]))


class Attention(ctypes.Structure):
    """What is asked for, as in attention.cpp."""

    _fields_ = (
        ("queries", Heads),
        ("keys", Heads),
        ("values", Heads),
        ("found", Heads),
        ("lengths", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("rows", "heads", "shared_heads", "tokens", "length")),
        ("dimensions", ctypes.c_int64),
        ("value_dimensions", ctypes.c_int64),
        ("scale", ctypes.c_float),
        ("is_causal", ctypes.c_int32),
        ("threads", ctypes.c_int32),
    )


def attention(
    queries: Any,
    keys: Any,
    values: Any,
    *,
    scale: float,
    mask: Any = None,
    lengths: Sequence[int] | None = None,
    **others: Any,
) -> Any:
    """In place of mlx-lm's, of the same arguments: [rows, heads, tokens, dimensions] of queries. `lengths`
    instead of a mask say how many tokens of each row are looked at.
    """
    kernels = loaded()
    rows, heads, tokens, dimensions = queries.shape
    is_simple = mask is None or isinstance(mask, str)
    if kernels is None or tokens < FEWEST_TOKENS or not is_simple or not on_cpu.is_usual(queries, others):
        if lengths is not None:
            mask = (mx.arange(keys.shape[2]) < mx.array([*lengths])[:, None])[:, None, None]
        return on_cpu.attention(queries, keys, values, scale=scale, mask=mask, **others)
    mx.eval(queries, keys, values)
    arrays = [_dense(np.asarray(array)) for array in (queries, keys, values)]
    found = np.empty((rows, tokens, heads, values.shape[-1]), dtype=np.float32)
    counts = (ctypes.c_int64 * rows)(*(lengths or ()))
    asked = Attention(
        *map(Heads.of, (*arrays, found.swapaxes(1, 2))),
        lengths=None if lengths is None else ctypes.addressof(counts),
        rows=rows,
        heads=heads,
        shared_heads=keys.shape[1],
        tokens=tokens,
        length=keys.shape[2],
        dimensions=dimensions,
        value_dimensions=values.shape[-1],
        scale=scale,
        is_causal=mask is not None,
        threads=kernels.threads,
    )
    kernels.attend(ctypes.byref(asked))
    return mx.array(found).swapaxes(1, 2)


def _dense(array: np.ndarray) -> np.ndarray:
    """The numbers of each token side by side."""
    return array if array.strides[-1] == array.itemsize else np.ascontiguousarray(array)
