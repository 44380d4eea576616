"""The conversion of a GGUF file, against an independent reading of the same bytes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.utils import dequantize_model, load_model, load_tokenizer

from inference.errors import ModelBroken
from inference.loading.gguf_llama import convert
from tests.inference.tiny_gguf import write_tiny_gguf

if TYPE_CHECKING:
    from pathlib import Path

    from tests.inference.tiny_gguf import TinyLlama


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[TinyLlama, Path]:
    workspace = tmp_path_factory.mktemp("conversion")
    tiny = write_tiny_gguf(workspace / "tiny.gguf")
    folder = workspace / "tiny"
    folder.mkdir()
    convert(workspace / "tiny.gguf", folder)
    return tiny, folder


def test_it_computes_what_the_gguf_file_means(converted: tuple[TinyLlama, Path]) -> None:
    tiny, folder = converted
    model, _ = load_model(folder)
    model.set_dtype(mx.float32)
    ids = [1, 70, 120, 33, 200, 7, 90, 14, 150, 60, 2]

    logits = np.array(model(mx.array([ids])))[0]

    np.testing.assert_allclose(logits, tiny.logits(ids), atol=2e-4)


def test_it_keeps_every_weight_to_the_last_bit(converted: tuple[TinyLlama, Path]) -> None:
    tiny, folder = converted
    model, _ = load_model(folder)
    model.set_dtype(mx.float32)
    dequantize_model(model)
    layer = model.model.layers[1]

    for ours, name in (
        (layer.self_attn.v_proj, "blk.1.attn_v"),
        (layer.self_attn.o_proj, "blk.1.attn_output"),
        (layer.mlp.down_proj, "blk.1.ffn_down"),
        (layer.input_layernorm, "blk.1.attn_norm"),
        (model.model.embed_tokens, "token_embd"),
    ):
        assert np.array_equal(np.array(ours.weight), tiny.weights[name].astype(np.float32)), name


def test_it_stays_quantised(converted: tuple[TinyLlama, Path]) -> None:
    _, folder = converted
    weights = cast("dict[str, mx.array]", mx.load(str(folder / "model.safetensors")))

    assert weights["model.layers.0.self_attn.q_proj.weight"].dtype == mx.uint32
    assert {str(array.dtype) for array in weights.values()} == {"mlx.core.uint32", "mlx.core.float16"}


def test_its_configuration_has_round_numbers(converted: tuple[TinyLlama, Path]) -> None:
    _, folder = converted
    config = json.loads((folder / "config.json").read_text())

    assert config["rms_norm_eps"] == 1e-5
    assert config["rope_theta"] == 10_000.0
    assert config["eos_token_id"] == 2


@pytest.mark.parametrize(
    "text",
    ["plain words", "  two spaces, a\ttab\n", "12345 and 6.7", "naïve 日本語 🦊", "<|im_start|>user\n"],
)
def test_its_tokenizer_gives_back_every_text(converted: tuple[TinyLlama, Path], text: str) -> None:
    _, folder = converted
    tokenizer = load_tokenizer(folder, {"local_files_only": True})

    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_its_tokenizer_knows_control_tokens_and_merges(converted: tuple[TinyLlama, Path]) -> None:
    _, folder = converted
    tokenizer = load_tokenizer(folder, {"local_files_only": True})

    assert tokenizer.encode("<|im_start|> t") == [1, 259]
    assert tokenizer.eos_token == "<|im_end|>"


def test_it_refuses_another_architecture(tmp_path: Path) -> None:
    write_tiny_gguf(tmp_path / "other.gguf", architecture="mamba")

    with pytest.raises(ModelBroken, match=r"general\.architecture is 'mamba', not 'llama'"):
        convert(tmp_path / "other.gguf", tmp_path)


def test_it_refuses_what_is_no_gguf_file(tmp_path: Path) -> None:
    (tmp_path / "noise.gguf").write_bytes(b"not a model at all")

    with pytest.raises(ModelBroken, match=r"noise\.gguf cannot be read as a GGUF file"):
        convert(tmp_path / "noise.gguf", tmp_path)
