"""Models small enough to run at once: random weights, a real tokenizer. They talk nonsense, but exactly."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.models import llama

from inference.cache.prompt_cache import PromptCache

if TYPE_CHECKING:
    from pathlib import Path

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
CONTEXT_LENGTH = 2048
VOCABULARY_SIZE = 49152

CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "vocab_size": VOCABULARY_SIZE,
    "max_position_embeddings": CONTEXT_LENGTH,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "eos_token_id": 2,
}


def tiny_model(*, seed: int = 0) -> Any:
    """A llama of random weights, large enough ones that greedy decoding does not fall into a loop at once."""
    mx.random.seed(seed)
    model = llama.Model(llama.ModelArgs.from_dict(CONFIG))
    parameters: Any = tree_flatten(model.parameters())
    weights = [(name, mx.random.normal(array.shape) * 0.3) for name, array in parameters]
    model.load_weights(weights)
    mx.eval(model.parameters())
    return model


def prompt_cache(*, max_bytes: int = 2**26) -> PromptCache:
    """For a model that keeps every token."""
    return PromptCache(max_bytes=max_bytes, cuts_anywhere=True)


def write_tiny_model(folder: Path, *, tokenizer_from: Path) -> Path:
    """The same as a folder that `serve_model` takes, with the tokenizer of another one."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    for name in TOKENIZER_FILES:
        shutil.copy(tokenizer_from / name, folder / name)
    weights = dict(tree_flatten(tiny_model().parameters()))
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
    return folder
