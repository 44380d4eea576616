"""Attention of rows that are kept apart (see ragged.py): mlx-lm's models learn to compute it.

Imports mlx: loaded by the model process only. Models call a function of mlx-lm by name, with whatever their
cache gives them. In its place they get one that computes attention for each part of the rows. Whether a
model's code can work with that is tried once.
"""

from __future__ import annotations

import logging
import math
import sys
from types import FunctionType
from typing import Any

import mlx.core as mx
from mlx_lm.models.activations import swiglu as mlx_swiglu
from mlx_lm.models.base import scaled_dot_product_attention as mlx_attention
from mlx_lm.models.cache import KVCache, make_prompt_cache

from inference.generation.ragged import Pieces, joinable
from inference.hardware.on_cpu import computes_on_cpu, swiglu
from inference.hardware.whole_attention import attention as whole_attention

logger = logging.getLogger(__name__)

MOST_BYTES_ON_CPU = 4 * 1024**2
MOST_BYTES_ON_GPU = 64 * 1024**2
"""Rows whose keys and values in a layer would take no more together are put together: to read their padding
costs less than to compute attention once more."""
ATTENTION, GATE = "scaled_dot_product_attention", "swiglu"
ATTENTION_TAKES = ("queries", "keys", "values", "cache", "scale", "mask", "sinks")


def most_bytes_for(model: Any) -> float:
    """How large arrays of several rows may become. Endless for a model with attention of its own kind."""
    if not any(type(cache) is KVCache for cache in make_prompt_cache(model)):
        return math.inf
    teach(model)
    try:
        mx.eval(_trial(model))
    except Exception as error:  # noqa: BLE001 -- whatever its code stumbles over
        logger.info("Rows of this model are padded to the longest one: %s.", error)
        return math.inf
    return MOST_BYTES_ON_CPU if computes_on_cpu() else MOST_BYTES_ON_GPU


def padded_bytes(model: Any, most_bytes: float) -> float:
    """The same for all layers together."""
    return most_bytes * sum(type(cache) is KVCache for cache in make_prompt_cache(model))


def _trial(model: Any) -> Any:
    """A step of two rows that share nothing."""
    rows = [make_prompt_cache(model) for _ in range(2)]
    for length, caches in enumerate(rows, start=1):
        model(mx.zeros((1, length), dtype=mx.int32), cache=caches)
    caches = [joinable(one, rows=1, most_bytes=0) for one in rows]
    for cache, other in zip(*caches, strict=True):
        cache.extend(other)
    return model(mx.zeros((2, 1), dtype=mx.int32), cache=caches[0])


def teach(model: Any) -> None:
    """Let the model's modules compute attention of parts, too, and what is faster on a CPU."""
    for kind in {type(module) for module in model.modules()}:
        names = _names_around(kind)
        if names.get(ATTENTION) is mlx_attention:
            names[ATTENTION] = attention
        if names.get(GATE) is mlx_swiglu:
            names[GATE] = swiglu


def _names_around(kind: type) -> dict[str, Any]:
    """What the code of a class finds by name. What came with the model was run, but is in no list."""
    module = sys.modules.get(kind.__module__)
    if module is not None:
        return vars(module)
    functions = (one for one in vars(kind).values() if isinstance(one, FunctionType))
    return next((one.__globals__ for one in functions), {})


def attention(*given: Any, **named: Any) -> Any:
    """In place of mlx-lm's function of that name, which it is for whole arrays."""
    asked = {**dict(zip(ATTENTION_TAKES, given, strict=False)), **named}
    keys = asked["keys"]
    return keys.cache.attend(**asked) if isinstance(keys, Pieces) else whole_attention(**asked)
