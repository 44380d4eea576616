"""How much of a model's work may be under way at a time: found out once, when it has been loaded.

Imports mlx: loaded by the model process only.
"""

from __future__ import annotations

from typing import Any

from inference.attention import most_bytes_for
from inference.beside import reads_beside
from inference.on_cpu import computes_on_cpu
from inference.pace import (
    LEAST_TOKENS_ON_CPU,
    LEAST_TOKENS_ON_GPU,
    MOST_TOKENS_ON_CPU,
    MOST_TOKENS_ON_GPU,
)
from inference.room import Limits


def limits_of(model: Any, *, max_rows: int, chunk_tokens: int | None = None) -> Limits:
    """By what its layers can do and where it runs. `chunk_tokens` is what an operator has asked for."""
    least, most = (
        (LEAST_TOKENS_ON_CPU, MOST_TOKENS_ON_CPU)
        if computes_on_cpu()
        else (LEAST_TOKENS_ON_GPU, MOST_TOKENS_ON_GPU)
    )
    return Limits(max_rows, chunk_tokens or most, most_bytes_for(model), reads_beside(model), least)
