"""The BERT family in MLX: token ids in, one vector per token out.

The modules are named as the published checkpoints name their weights, so these load without a table of names.
RoBERTa and XLM-RoBERTa are the same network; their positions merely begin behind the padding id.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mlx.core as mx
from mlx import nn

from inference.errors import ModelBroken
from inference.hardware.on_cpu import gelu
from inference.hardware.whole_attention import attention

if TYPE_CHECKING:
    from collections.abc import Sequence

MODEL_TYPES = frozenset({"bert", "roberta", "xlm-roberta"})
ACTIVATIONS = {
    "gelu": gelu,
    "gelu_new": nn.gelu_approx,
    "gelu_pytorch_tanh": nn.gelu_approx,
    "relu": nn.relu,
    "silu": nn.silu,
}
# A checkpoint may hold the heads that it was trained with. They have no part in an embedding.
HEADS = ("pooler.", "cls.", "lm_head.", "classifier.")
# How checkpoints converted from TensorFlow name what every other one calls weight and bias.
OLD_LEAVES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}


@dataclass(frozen=True, slots=True)
class BertConfig:
    """The part of config.json that shapes the network."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int
    layer_norm_eps: float
    hidden_act: str
    first_position: int

    @property
    def max_tokens(self) -> int:
        return self.max_position_embeddings - self.first_position

    @classmethod
    def from_json(cls, config: dict[str, Any]) -> BertConfig:
        """Raises ModelBroken for what this network is not."""
        kind = config["model_type"]
        if kind not in MODEL_TYPES:
            raise ModelBroken(f"Its model_type is {kind}; known are {', '.join(sorted(MODEL_TYPES))}.")
        if config.get("position_embedding_type", "absolute") != "absolute":
            raise ModelBroken(
                f"Its positions are {config['position_embedding_type']}; known are absolute ones."
            )
        if "quantization" in config:
            raise ModelBroken("Its weights are quantised; use the original ones, which are small as well.")
        if config.get("hidden_act", "gelu") not in ACTIVATIONS:
            raise ModelBroken(
                f"Its activation is {config['hidden_act']}; known are {', '.join(ACTIVATIONS)}."
            )
        try:
            return cls(
                vocab_size=config["vocab_size"],
                hidden_size=config["hidden_size"],
                num_hidden_layers=config["num_hidden_layers"],
                num_attention_heads=config["num_attention_heads"],
                intermediate_size=config["intermediate_size"],
                max_position_embeddings=config["max_position_embeddings"],
                type_vocab_size=config.get("type_vocab_size", 2),
                layer_norm_eps=config.get("layer_norm_eps", 1e-12),
                hidden_act=config.get("hidden_act", "gelu"),
                first_position=0 if kind == "bert" else config.get("pad_token_id", 1) + 1,
            )
        except KeyError as error:
            raise ModelBroken(f"Its config.json has no {error}.") from error


class Embeddings(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self._first_position = config.first_position

    def __call__(self, ids: mx.array) -> mx.array:
        positions = mx.arange(self._first_position, self._first_position + ids.shape[1])
        first_segment = self.token_type_embeddings.weight[0]
        vectors: mx.array = self.LayerNorm(
            self.word_embeddings(ids) + self.position_embeddings(positions) + first_segment
        )
        return vectors


class SelfAttention(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)
        self._heads = config.num_attention_heads
        self._scale = (config.hidden_size // config.num_attention_heads) ** -0.5

    def __call__(self, hidden: mx.array, lengths: Sequence[int] | None) -> mx.array:
        rows, length, size = hidden.shape

        def by_head(states: mx.array) -> mx.array:
            return states.reshape(rows, length, self._heads, -1).transpose(0, 2, 1, 3)

        mixed: mx.array = attention(
            by_head(self.query(hidden)),
            by_head(self.key(hidden)),
            by_head(self.value(hidden)),
            scale=self._scale,
            lengths=lengths,
        )
        return mixed.transpose(0, 2, 1, 3).reshape(rows, length, size)


class AddAndNormalize(nn.Module):
    """The end of each half of a layer: a projection, added to what came in."""

    def __init__(self, inputs: int, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def __call__(self, states: mx.array, residual: mx.array) -> mx.array:
        normed: mx.array = self.LayerNorm(self.dense(states) + residual)
        return normed


class Attention(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.self = SelfAttention(config)
        self.output = AddAndNormalize(config.hidden_size, config)

    def __call__(self, hidden: mx.array, lengths: Sequence[int] | None) -> mx.array:
        return self.output(self.self(hidden, lengths), hidden)


class Intermediate(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self._activation = ACTIVATIONS[config.hidden_act]

    def __call__(self, hidden: mx.array) -> mx.array:
        activated: mx.array = self._activation(self.dense(hidden))
        return activated


class Layer(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.intermediate = Intermediate(config)
        self.output = AddAndNormalize(config.intermediate_size, config)

    def __call__(self, hidden: mx.array, lengths: Sequence[int] | None) -> mx.array:
        attended = self.attention(hidden, lengths)
        return self.output(self.intermediate(attended), attended)


class Layers(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.layer = [Layer(config) for _ in range(config.num_hidden_layers)]

    def __call__(self, hidden: mx.array, lengths: Sequence[int] | None) -> mx.array:
        for layer in self.layer:
            hidden = layer(hidden, lengths)
        return hidden


class Bert(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.encoder = Layers(config)

    def __call__(self, ids: mx.array, lengths: Sequence[int] | None) -> mx.array:
        """Vectors (rows, length, hidden) of `ids` (rows, length).

        `lengths` are those without padding, which is on the right; None says that there is none.
        """
        return self.encoder(self.embeddings(ids), lengths)

    def load(self, weights: dict[str, mx.array]) -> None:
        """Take the weights of a checkpoint, as float32. Raises ValueError when some do not fit."""
        self.load_weights([(name, weights[key].astype(mx.float32)) for key, name in _names(weights).items()])
        self.eval()
        mx.eval(self.parameters())


def _names(weights: dict[str, mx.array]) -> dict[str, str]:
    """From the checkpoint's names to ours, without what is no weight of the network."""
    names = {}
    for key in weights:
        name = key.removeprefix("bert.").removeprefix("roberta.")
        if name.startswith(HEADS) or name.endswith("position_ids"):
            continue
        for old, new in OLD_LEAVES.items():
            name = name.replace(old, new)
        names[key] = name
    return names
