"""How much of a model's work may be under way at a time: found out once, when it has been loaded.

Imports mlx: loaded by the model process only.
"""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from inference.generation.attention import most_bytes_for
from inference.generation.beside import reads_beside
from inference.generation.head import draws_at_once
from inference.generation.pace import ON_CPU, ON_CUDA, ON_METAL
from inference.generation.room import Limits
from inference.generation.slices import teach_to_pause
from inference.hardware.on_cpu import computes_on_cpu


def limits_of(model: Any, *, max_rows: int, chunk_tokens: int | None = None) -> Limits:
    """By what its layers can do and where it runs. `chunk_tokens` is what an operator has asked for."""
    teach_to_pause(model)
    sizes = ON_CPU if computes_on_cpu() else ON_CUDA if mx.cuda.is_available() else ON_METAL
    chunks = sizes if chunk_tokens is None else sizes.up_to(chunk_tokens)
    return Limits(
        max_rows,
        chunks,
        most_bytes_for(model),
        reads_beside=reads_beside(model),
        draws_at_once=draws_at_once(model),
    )
