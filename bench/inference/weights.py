"""Models of random weights in the shapes of published ones: they say noise, and say it as fast."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
from mlx.utils import tree_map
from mlx_lm.models import llama

from inference.hardware.large_pages import use_large_pages
from inference.hardware.on_cpu import computes_on_cpu

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 131_072,
    "rope_theta": 500_000.0,
    "tie_word_embeddings": True,
}
SHAPES: dict[str, dict[str, Any]] = {
    "llama-3.2-3b": {
        "hidden_size": 3072,
        "num_hidden_layers": 28,
        "intermediate_size": 8192,
        "num_attention_heads": 24,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 128_256,
    },
    "llama-3.2-1b": {
        "hidden_size": 2048,
        "num_hidden_layers": 16,
        "intermediate_size": 8192,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "vocab_size": 128_256,
    },
    "smollm2-135m": {
        "hidden_size": 576,
        "num_hidden_layers": 30,
        "intermediate_size": 1536,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "vocab_size": 49_152,
    },
    "tiny": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 512,
    },
}
SCALE = 0.02


def random_model(shape: str) -> Any:
    """In bf16 on a GPU; on a CPU, which computes half precision number by number, in float32 and in large
    pages as our server does it, for all engines alike.
    """
    model = llama.Model(llama.ModelArgs.from_dict({**LLAMA, **SHAPES[shape]}))
    mx.random.seed(0)
    parameters = tree_map(
        lambda array: mx.random.normal(array.shape, scale=SCALE) if array.ndim > 1 else array,
        model.parameters(),
    )
    model.update(parameters)
    model.set_dtype(mx.float32 if computes_on_cpu() else mx.bfloat16)
    mx.eval(model.parameters())
    if computes_on_cpu():
        use_large_pages(model)
    return model


def vocabulary_of(shape: str) -> int:
    return int(SHAPES[shape]["vocab_size"])
