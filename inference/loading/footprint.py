"""What a model takes in memory, read from its own files without loading it: weights, and keys and values.

No MLX here: the supervisor and the pages ask, too.
"""

from __future__ import annotations

import math
import sys
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import distributions
from typing import TYPE_CHECKING, Any

from inference.loading import model_folder

if TYPE_CHECKING:
    from pathlib import Path

FLOAT32_BYTES = 4
HALF_BYTES = 2
WORD_BITS = 32
KEYS_AND_VALUES = 2
DEFAULT_BITS = 4
DEFAULT_ROWS = 16
# What an answer with its prompt is taken to be long, when memory is estimated: most are far from the limit.
TOKENS_PER_ROW = 2048
# Python, MLX, the tokenizer, and what a step computes with.
PROCESS_BYTES = 350 * 1024**2
# A CPU uses dense weights that take no more than this of what is free: caches and all others need the rest.
DENSE_SHARE = 0.7


@dataclass(frozen=True, slots=True)
class Footprint:
    """Sizes in bytes. `dense_bytes` is what the weights take as float32; `kv_values` is how many numbers one
    token keeps."""

    weight_bytes: int
    dense_bytes: int
    kv_values: int

    def as_json(self) -> dict[str, int]:
        return asdict(self)


def of_folder(folder: Path) -> Footprint:
    """Raises ModelBroken for files that are not whole."""
    config = model_folder.read_config(folder)
    files = model_folder.check_weights(folder)
    parameters = sum(_parameters(model_folder.read_header(file)[0], config) for file in files)
    return Footprint(
        weight_bytes=sum(file.stat().st_size for file in files),
        dense_bytes=parameters * FLOAT32_BYTES,
        kv_values=kv_values_per_token(config),
    )


def kv_values_per_token(config: dict[str, Any]) -> int:
    """How many numbers a token leaves in the cache, over all layers that keep every token; 0 when unknown."""
    text = config.get("text_config") or config
    layers = int(text.get("num_hidden_layers") or text.get("n_layer") or 0)
    kinds = text.get("layer_types")
    if isinstance(kinds, list):
        layers = sum(kind == "full_attention" for kind in kinds)
    if text.get("kv_lora_rank"):  # latent attention keeps one compressed vector, not keys and values
        return layers * (int(text["kv_lora_rank"]) + int(text.get("qk_rope_head_dim") or 0))
    if text.get("model_type") in model_folder.ENCODER_TYPES:
        return 0
    heads = int(text.get("num_attention_heads") or text.get("n_head") or 0)
    if not heads:
        return 0
    hidden = int(text.get("hidden_size") or text.get("n_embd") or 0)
    head_size = int(text.get("head_dim") or hidden // heads)
    return layers * int(text.get("num_key_value_heads") or heads) * head_size * KEYS_AND_VALUES


def needed_bytes(
    footprints: list[Footprint], *, rows: int | None, prompt_cache_bytes: int, free_bytes: int | None
) -> int:
    """What a server of these models is going to take: weights, `rows` answers at once, and the process."""
    value_bytes = FLOAT32_BYTES if on_cpu() else HALF_BYTES
    total = PROCESS_BYTES + prompt_cache_bytes
    for each in footprints:
        total += _weights_in_memory(each, free_bytes)
        total += (rows or DEFAULT_ROWS) * TOKENS_PER_ROW * each.kv_values * value_bytes
    return total


def _weights_in_memory(footprint: Footprint, free_bytes: int | None) -> int:
    fits_dense = free_bytes is None or footprint.dense_bytes <= free_bytes * DENSE_SHARE
    return footprint.dense_bytes if on_cpu() and fits_dense else footprint.weight_bytes


@cache
def on_cpu() -> bool:
    """Whether MLX computes on the processor here: no Metal, and none of its packages for CUDA."""
    if sys.platform == "darwin":
        return False
    return not any((found.name or "").lower().startswith("mlx-cuda") for found in distributions())


def _parameters(arrays: dict[str, Any], config: dict[str, Any]) -> int:
    """How many weights the file holds. Quantised ones are packed into words, with scales beside them."""
    total = 0
    for name, entry in arrays.items():
        layer, _, part = name.rpartition(".")
        quantised = f"{layer}.scales" in arrays
        if quantised and part in ("scales", "biases"):
            continue
        size = math.prod(entry.get("shape", ()))
        total += size * WORD_BITS // _bits(layer, config) if quantised and part == "weight" else size
    return total


def _bits(layer: str, config: dict[str, Any]) -> int:
    quantization = config.get("quantization") or {}
    own = quantization.get(layer)
    chosen = own if isinstance(own, dict) else quantization
    return int(chosen.get("bits") or DEFAULT_BITS)
