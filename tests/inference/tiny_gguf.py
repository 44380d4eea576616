"""A tiny llama in a GGUF file, and what it computes: written from the format's description, in NumPy alone.

It is the oracle of the conversion: llama.cpp's conventions (rows of q and k interleaved, neighbours turned as
a pair) against what mlx-lm makes of the converted folder.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    Matrix = Any  # a NumPy array of doubles; what its operators give is Any to the type checker

HIDDEN, HEADS, KV_HEADS, FEED_FORWARD, BLOCKS, CONTEXT = 64, 4, 2, 96, 2, 512
HEAD_SIZE = HIDDEN // HEADS
ROPE_BASE, EPSILON = 10_000.0, 1e-5
ALIGNMENT = 32
UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
F32_TENSOR, Q4_1_TENSOR, Q8_0_TENSOR = 0, 3, 8
CONTROL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@dataclass(frozen=True, slots=True)
class TinyLlama:
    """The weights as the GGUF file means them, in double precision."""

    weights: dict[str, Matrix]

    def logits(self, ids: list[int]) -> Matrix:
        """Of every position, as llama.cpp defines them."""
        hidden = self.weights["token_embd"][ids]
        for block in range(BLOCKS):
            hidden = hidden + self._attention(block, self._norm(hidden, f"blk.{block}.attn_norm"))
            hidden = hidden + self._feed_forward(block, self._norm(hidden, f"blk.{block}.ffn_norm"))
        return self._norm(hidden, "output_norm") @ self.weights["token_embd"].T

    def _norm(self, hidden: Matrix, name: str) -> Matrix:
        scale = np.sqrt((hidden**2).mean(axis=-1, keepdims=True) + EPSILON)
        return hidden / scale * self.weights[name]

    def _attention(self, block: int, hidden: Matrix) -> Matrix:
        length = len(hidden)

        def project(name: str, heads: int) -> Matrix:
            states = hidden @ self.weights[f"blk.{block}.{name}"].T
            return states.reshape(length, heads, HEAD_SIZE).transpose(1, 0, 2)

        queries, keys = rotate(project("attn_q", HEADS)), rotate(project("attn_k", KV_HEADS))
        values = project("attn_v", KV_HEADS)
        keys, values = (np.repeat(states, HEADS // KV_HEADS, axis=0) for states in (keys, values))
        scores = queries @ keys.transpose(0, 2, 1) / np.sqrt(HEAD_SIZE)
        scores[:, np.triu(np.ones((length, length), dtype=bool), 1)] = -np.inf
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (scores / scores.sum(axis=-1, keepdims=True)) @ values
        return mixed.transpose(1, 0, 2).reshape(length, HIDDEN) @ self.weights[f"blk.{block}.attn_output"].T

    def _feed_forward(self, block: int, hidden: Matrix) -> Matrix:
        gate, up, down = (self.weights[f"blk.{block}.ffn_{name}"] for name in ("gate", "up", "down"))
        gated = hidden @ gate.T
        return (gated / (1 + np.exp(-gated)) * (hidden @ up.T)) @ down.T


def rotate(states: Matrix) -> Matrix:
    """llama.cpp's rotary embedding: elements 2i and 2i+1 are the pair that turns."""
    positions = np.arange(states.shape[1])[:, None]
    angles = positions * ROPE_BASE ** (-np.arange(0, HEAD_SIZE, 2) / HEAD_SIZE)
    even, odd = states[..., 0::2], states[..., 1::2]
    turned = np.empty_like(states)
    turned[..., 0::2] = even * np.cos(angles) - odd * np.sin(angles)
    turned[..., 1::2] = even * np.sin(angles) + odd * np.cos(angles)
    return turned


def write_tiny_gguf(path: Path, *, architecture: str = "llama") -> TinyLlama:
    """Write a random model to `path`; return it as its file means it, rounding included."""
    random = np.random.default_rng(seed=20)
    tokens = vocabulary()
    shapes = {"token_embd": (len(tokens), HIDDEN), "output_norm": (HIDDEN,)}
    for block in range(BLOCKS):
        shapes |= {
            f"blk.{block}.attn_norm": (HIDDEN,),
            f"blk.{block}.attn_q": (HIDDEN, HIDDEN),
            f"blk.{block}.attn_k": (KV_HEADS * HEAD_SIZE, HIDDEN),
            f"blk.{block}.attn_v": (KV_HEADS * HEAD_SIZE, HIDDEN),
            f"blk.{block}.attn_output": (HIDDEN, HIDDEN),
            f"blk.{block}.ffn_norm": (HIDDEN,),
            f"blk.{block}.ffn_gate": (FEED_FORWARD, HIDDEN),
            f"blk.{block}.ffn_up": (FEED_FORWARD, HIDDEN),
            f"blk.{block}.ffn_down": (HIDDEN, FEED_FORWARD),
        }
    infos, data, weights = b"", b"", {}
    for name, shape in shapes.items():
        wanted = random.normal(scale=0.3, size=shape) + (1.0 if len(shape) == 1 else 0.0)
        kind, block_bytes, weights[name] = quantised(name, wanted)
        dimensions = b"".join(struct.pack("<Q", size) for size in reversed(shape))
        infos += string(f"{name}.weight") + struct.pack("<I", len(shape)) + dimensions
        infos += struct.pack("<IQ", kind, len(data))
        data += block_bytes + bytes(-len(block_bytes) % ALIGNMENT)
    entries = metadata(tokens, architecture)
    header = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(entries)) + b"".join(entries) + infos
    path.write_bytes(header + bytes(-len(header) % ALIGNMENT) + data)
    return TinyLlama(weights)


def vocabulary() -> list[str]:
    """Control tokens, then a token for each byte under the name that byte-level BPE has for it, a merge."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    names = {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}
    return [*CONTROL_TOKENS, *(names[byte] for byte in range(256)), "Ġt"]


def metadata(tokens: list[str], architecture: str) -> list[bytes]:
    integers = {
        "llama.embedding_length": HIDDEN,
        "llama.feed_forward_length": FEED_FORWARD,
        "llama.block_count": BLOCKS,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS,
        "llama.context_length": CONTEXT,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.padding_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    }
    reals = {"llama.attention.layer_norm_rms_epsilon": EPSILON, "llama.rope.freq_base": ROPE_BASE}
    strings = {
        "general.architecture": architecture,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.chat_template": CHAT_TEMPLATE,
    }
    kinds = [3 if token in CONTROL_TOKENS else 1 for token in tokens]
    return [
        *(entry(name, UINT32, struct.pack("<I", value)) for name, value in integers.items()),
        *(entry(name, FLOAT32, struct.pack("<f", value)) for name, value in reals.items()),
        *(entry(name, STRING, string(value)) for name, value in strings.items()),
        array_entry("tokenizer.ggml.tokens", STRING, [string(token) for token in tokens]),
        array_entry("tokenizer.ggml.merges", STRING, [string("Ġ t")]),
        array_entry("tokenizer.ggml.token_type", INT32, [struct.pack("<i", kind) for kind in kinds]),
    ]


def string(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def entry(name: str, kind: int, value: bytes) -> bytes:
    return string(name) + struct.pack("<I", kind) + value


def array_entry(name: str, kind: int, values: list[bytes]) -> bytes:
    return entry(name, ARRAY, struct.pack("<IQ", kind, len(values)) + b"".join(values))


def quantised(name: str, wanted: Matrix) -> tuple[int, bytes, Matrix]:
    """The tensor's type, its bytes, and the numbers that these bytes stand for."""
    if wanted.ndim == 1:
        # Norms were trained in bfloat16: seven bits of fraction, so half precision holds them exactly.
        rounded = np.round(wanted * 128) / 128
        return F32_TENSOR, rounded.astype("<f4").tobytes(), rounded
    blocks = wanted.reshape(-1, 32)
    if name == "token_embd":
        return Q8_0_TENSOR, *q8_0(blocks, wanted.shape)
    return Q4_1_TENSOR, *q4_1(blocks, wanted.shape)


def q8_0(blocks: Matrix, shape: tuple[int, ...]) -> tuple[bytes, Matrix]:
    scale = (np.abs(blocks).max(axis=1, keepdims=True) / 127).astype("<f2")
    numbers = np.clip(np.round(blocks / scale), -127, 127).astype(np.int8)
    content = b"".join(s.tobytes() + n.tobytes() for s, n in zip(scale, numbers, strict=True))
    return content, (numbers * scale.astype(np.float64)).reshape(shape)


def q4_1(blocks: Matrix, shape: tuple[int, ...]) -> tuple[bytes, Matrix]:
    least = blocks.min(axis=1, keepdims=True).astype("<f2")
    scale = ((blocks.max(axis=1, keepdims=True) - least) / 15).astype("<f2")
    numbers = np.clip(np.round((blocks - least) / scale), 0, 15).astype(np.uint8)
    packed = numbers[:, :16] | numbers[:, 16:] << 4
    content = b"".join(
        s.tobytes() + m.tobytes() + p.tobytes() for s, m, p in zip(scale, least, packed, strict=True)
    )
    return content, (numbers * scale.astype(np.float64) + least.astype(np.float64)).reshape(shape)
