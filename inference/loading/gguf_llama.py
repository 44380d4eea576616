"""Turns a llama-type GGUF file into a model folder of the kind that mlx-lm loads.

Nothing is quantised anew. A Q4_1 block is a scale, a minimum and 32 four-bit numbers, which is exactly MLX's
affine format with groups of 32; a Q8_0 block becomes the same with eight bits. What does change: the names,
the order of the rows of q and k (GGUF interleaves them for llama.cpp's rotary embedding), and the tokenizer,
which GGUF keeps as lists of tokens and merges.

It does what the demo model needs: SmolLM's byte-level BPE, and blocks that MLX can keep.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import mlx.core as mx
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from inference.errors import ModelBroken

if TYPE_CHECKING:
    from pathlib import Path

    Contents = tuple[dict[str, mx.array], dict[str, Any]]

ARCHITECTURE = "llama"
TOKENIZER_MODEL = "gpt2"
PRE_TOKENIZER = "smollm"
GROUP_SIZE = 32
BITS = 4
BITS_PER_WORD = 32
# Scales are stored in half precision, so a model that runs in it needs no other; norms came from bfloat16
# and are exact in it.
DTYPE = mx.float16
CONTROL_TOKEN = 3  # GGUF's token type for <|im_start|> and the like

OUTER_LAYERS = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
BLOCK_LAYERS = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}


def convert(gguf: Path, folder: Path) -> None:
    """Write config.json, model.safetensors and the tokenizer's files into `folder`, which is empty.

    Raises ModelBroken for a file that is no GGUF of the kind described above.
    """
    try:
        arrays, values = cast("Contents", mx.load(str(gguf), return_metadata=True))
    except RuntimeError as error:
        raise ModelBroken(f"{gguf} cannot be read as a GGUF file: {error}") from error
    metadata = Metadata(gguf, values)
    metadata.expect("general.architecture", ARCHITECTURE)
    metadata.expect("tokenizer.ggml.model", TOKENIZER_MODEL)
    metadata.expect("tokenizer.ggml.pre", PRE_TOKENIZER)
    weights = _weights(arrays, metadata)
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
    _write_json(folder / "config.json", _config(metadata, arrays))
    _write_json(folder / "generation_config.json", _special_ids(metadata))
    _tokenizer(metadata).save(str(folder / "tokenizer.json"))
    _write_json(folder / "tokenizer_config.json", _tokenizer_config(metadata))


@dataclass(frozen=True, slots=True)
class Metadata:
    """The key-value part of a GGUF file, as MLX hands it over: scalars are arrays of no dimension."""

    source: Path
    values: dict[str, Any]

    def __getitem__(self, key: str) -> Any:
        try:
            return self.values[key]
        except KeyError:
            raise ModelBroken(f"{self.source} has no {key} in its metadata.") from None

    def integer(self, key: str) -> int:
        return int(self[key].item())

    def real(self, key: str) -> float:
        return float(self[key].item())

    def expect(self, key: str, value: str) -> None:
        if self[key] != value:
            raise ModelBroken(
                f"{self.source} cannot be converted: its {key} is {self[key]!r}, not {value!r}."
            )


def _weights(arrays: dict[str, mx.array], metadata: Metadata) -> dict[str, mx.array]:
    heads_of_layer = {
        "attn_q": metadata.integer("llama.attention.head_count"),
        "attn_k": metadata.integer("llama.attention.head_count_kv"),
    }
    weights = {}
    for name, array in arrays.items():
        layer, leaf = name.rsplit(".", 1)
        heads = heads_of_layer.get(layer.rsplit(".", 1)[-1])
        ordered = _uninterleave(array, heads) if heads else array
        weights[f"{_layer_name(layer, metadata)}.{leaf}"] = (
            ordered.astype(DTYPE) if mx.issubdtype(ordered.dtype, mx.floating) else ordered
        )
    return weights


def _layer_name(layer: str, metadata: Metadata) -> str:
    """`blk.3.attn_q` is `model.layers.3.self_attn.q_proj` to mlx-lm."""
    block = layer.split(".")
    try:
        if len(block) == 1:
            return OUTER_LAYERS[layer]
        _, index, part = block
        return f"model.layers.{index}.{BLOCK_LAYERS[part]}"
    except (KeyError, ValueError):
        raise ModelBroken(
            f"{metadata.source} cannot be converted: it holds an unknown layer {layer}."
        ) from None


def _uninterleave(array: mx.array, heads: int) -> mx.array:
    """Rows ordered (head, half, 2) back to (head, 2, half).

    Groups run along a row, so the rows of packed words, scales and biases move alike.
    """
    rows, *rest = array.shape
    return array.reshape(heads, rows // heads // 2, 2, *rest).swapaxes(1, 2).reshape(array.shape)


def _config(metadata: Metadata, arrays: dict[str, mx.array]) -> dict[str, Any]:
    hidden_size = metadata.integer("llama.embedding_length")
    heads = metadata.integer("llama.attention.head_count")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": hidden_size,
        "intermediate_size": metadata.integer("llama.feed_forward_length"),
        "num_hidden_layers": metadata.integer("llama.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": metadata.integer("llama.attention.head_count_kv"),
        "head_dim": hidden_size // heads,
        # GGUF keeps it in single precision, where 1e-5 is 9.99999974e-06.
        "rms_norm_eps": float(f"{metadata.real('llama.attention.layer_norm_rms_epsilon'):.6g}"),
        "rope_theta": metadata.real("llama.rope.freq_base"),
        "max_position_embeddings": metadata.integer("llama.context_length"),
        "vocab_size": len(metadata["tokenizer.ggml.tokens"]),
        "tie_word_embeddings": "output.weight" not in arrays,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "torch_dtype": "float16",
        "quantization": {"group_size": GROUP_SIZE, "bits": BITS, **_other_widths(arrays, metadata)},
        **_special_ids(metadata),
    }


def _other_widths(arrays: dict[str, mx.array], metadata: Metadata) -> dict[str, dict[str, int]]:
    """The layers that are not stored with four bits: the Q8_0 embedding."""
    widths = {}
    for name, scales in arrays.items():
        if not name.endswith(".scales"):
            continue
        layer = name.removesuffix(".scales")
        inputs = scales.shape[-1] * GROUP_SIZE
        bits = arrays[f"{layer}.weight"].shape[-1] * BITS_PER_WORD // inputs
        if bits != BITS:
            widths[_layer_name(layer, metadata)] = {"group_size": GROUP_SIZE, "bits": bits}
    return widths


def _special_ids(metadata: Metadata) -> dict[str, int]:
    return {
        "bos_token_id": metadata.integer("tokenizer.ggml.bos_token_id"),
        "eos_token_id": metadata.integer("tokenizer.ggml.eos_token_id"),
        "pad_token_id": metadata.integer("tokenizer.ggml.padding_token_id"),
    }


def _tokenizer(metadata: Metadata) -> Tokenizer:
    tokens: list[str] = metadata["tokenizer.ggml.tokens"]
    merges = [
        (left, right) for left, right in (pair.split(" ") for pair in metadata["tokenizer.ggml.merges"])
    ]
    tokenizer = Tokenizer(
        models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=merges)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    types = metadata["tokenizer.ggml.token_type"].tolist()
    tokenizer.add_special_tokens(
        [
            AddedToken(token, special=True, normalized=False)
            for token, kind in zip(tokens, types, strict=True)
            if kind == CONTROL_TOKEN
        ]
    )
    return tokenizer


def _tokenizer_config(metadata: Metadata) -> dict[str, Any]:
    tokens: list[str] = metadata["tokenizer.ggml.tokens"]
    ids = _special_ids(metadata)
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_prefix_space": False,
        "add_bos_token": False,
        "bos_token": tokens[ids["bos_token_id"]],
        "eos_token": tokens[ids["eos_token_id"]],
        "pad_token": tokens[ids["pad_token_id"]],
        "unk_token": tokens[metadata.integer("tokenizer.ggml.unknown_token_id")],
        "clean_up_tokenization_spaces": False,
        "model_max_length": metadata.integer("llama.context_length"),
        "chat_template": metadata["tokenizer.chat_template"],
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
