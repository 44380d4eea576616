"""BERT in plain float64 NumPy, from the paper's formulas, and folders of tiny ones with random weights."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from inference.embeddings.encoder import Encoder, load_encoder

if TYPE_CHECKING:
    from pathlib import Path

HIDDEN, HEADS, FEED_FORWARD, LAYERS, POSITIONS = 32, 4, 48, 2, 64
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "sun", "rain", "snow", "wind", "and", "then"]
EPSILON = 1e-12
erf = np.vectorize(math.erf)


@dataclass(frozen=True, slots=True)
class Reference:
    """BERT as published, one input at a time: no batch, no padding, no mask."""

    weights: dict[str, Any]
    heads: int
    layers: int
    first_position: int = 0

    def tokens(self, ids: list[int]) -> Any:
        places = np.arange(len(ids)) + self.first_position
        hidden = (
            self.weights["embeddings.word_embeddings.weight"][ids]
            + self.weights["embeddings.position_embeddings.weight"][places]
            + self.weights["embeddings.token_type_embeddings.weight"][0]
        )
        hidden = self._norm(hidden, "embeddings.LayerNorm")
        for layer in range(self.layers):
            name = f"encoder.layer.{layer}"
            attended = self._linear(
                self._attention(hidden, f"{name}.attention.self"), f"{name}.attention.output.dense"
            )
            hidden = self._norm(hidden + attended, f"{name}.attention.output.LayerNorm")
            wide = self._linear(hidden, f"{name}.intermediate.dense")
            wide = 0.5 * wide * (1 + erf(wide / math.sqrt(2)))
            hidden = self._norm(
                hidden + self._linear(wide, f"{name}.output.dense"), f"{name}.output.LayerNorm"
            )
        return hidden

    def _attention(self, hidden: Any, name: str) -> Any:
        length, size = hidden.shape
        query, key, value = (
            self._linear(hidden, f"{name}.{part}").reshape(length, self.heads, -1).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = np.exp(query @ key.transpose(0, 2, 1) / math.sqrt(size // self.heads))
        mixed = (scores / scores.sum(axis=-1, keepdims=True)) @ value
        return mixed.transpose(1, 0, 2).reshape(length, size)

    def _linear(self, states: Any, name: str) -> Any:
        return states @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _norm(self, states: Any, name: str) -> Any:
        centred = states - states.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt(states.var(axis=-1, keepdims=True) + EPSILON)
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


def unit(vector: Any) -> Any:
    return vector / np.linalg.norm(vector)


def cosine(ours: Any, reference: Any) -> float:
    return float(unit(ours.astype(np.float64)) @ unit(reference))


class TinyFolder:
    """A random BERT in a sentence-transformers folder, which a test may change before it loads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.weights = random_weights()
        self.config: dict[str, Any] = {
            "model_type": "bert",
            "vocab_size": len(WORDS),
            "hidden_size": HIDDEN,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS,
            "intermediate_size": FEED_FORWARD,
            "max_position_embeddings": POSITIONS,
            "layer_norm_eps": EPSILON,
            "pad_token_id": 0,
        }
        self.pooling: dict[str, Any] = {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
        self.steps = ["Transformer", "Pooling", "Normalize"]

    def load(self) -> Encoder:
        (self.path / "1_Pooling").mkdir()
        self._write("config.json", self.config)
        self._write("1_Pooling/config.json", self.pooling)
        self._write(
            "modules.json",
            [
                {
                    "type": f"sentence_transformers.models.{step}",
                    "path": "1_Pooling" if step == "Pooling" else "",
                }
                for step in self.steps
            ],
        )
        save_file(self.weights, self.path / "model.safetensors")
        word_tokenizer().save(str(self.path / "tokenizer.json"))
        return load_encoder(str(self.path), models_dir=self.path)

    def reference(self, first_position: int = 0) -> Reference:
        weights = {name: array.astype(np.float64) for name, array in self.weights.items()}
        return Reference(weights, heads=HEADS, layers=LAYERS, first_position=first_position)

    def _write(self, name: str, content: object) -> None:
        (self.path / name).write_text(json.dumps(content))


def random_weights() -> dict[str, Any]:
    random = np.random.default_rng(seed=7)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(WORDS), HIDDEN),
        "embeddings.position_embeddings.weight": (POSITIONS, HIDDEN),
        "embeddings.token_type_embeddings.weight": (2, HIDDEN),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            shapes |= {
                f"{name}.attention.{part}.weight": (HIDDEN, HIDDEN),
                f"{name}.attention.{part}.bias": (HIDDEN,),
            }
        shapes |= {
            f"{name}.intermediate.dense.weight": (FEED_FORWARD, HIDDEN),
            f"{name}.intermediate.dense.bias": (FEED_FORWARD,),
            f"{name}.output.dense.weight": (HIDDEN, FEED_FORWARD),
            f"{name}.output.dense.bias": (HIDDEN,),
        }
        norms += [f"{name}.attention.output.LayerNorm", f"{name}.output.LayerNorm"]
    shapes |= {f"{norm}.{leaf}": (HIDDEN,) for norm in norms for leaf in ("weight", "bias")}
    return {name: random.normal(scale=0.4, size=shape).astype(np.float32) for name, shape in shapes.items()}


def word_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(
        models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.Strip()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    # As published folders have it: cut and padded to a length that is not the model's.
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=4)
    return tokenizer
