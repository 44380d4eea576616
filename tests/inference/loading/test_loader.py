"""Loading a chat model: the demo for real, tiny converted folders for what can be wrong with a folder."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any, cast

import mlx.core as mx
import numpy as np
import pytest
from django.conf import settings
from mlx.utils import tree_flatten
from mlx_lm import generate
from mlx_lm.tuner.utils import linear_to_lora_layers

from inference.errors import ModelBroken, ModelNotFound
from inference.hardware import free_memory
from inference.http.chat_template import prompt_tokens
from inference.loading.gguf_llama import convert
from inference.loading.loader import LoadedModel, Making, load_chat_model
from ollaproject.wire.openai_errors import ApiError
from tests.inference.tiny_gguf import CONTEXT, vocabulary, write_tiny_gguf

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workspace = tmp_path_factory.mktemp("loader")
    write_tiny_gguf(workspace / "tiny.gguf")
    (workspace / "tiny").mkdir()
    convert(workspace / "tiny.gguf", workspace / "tiny")
    return workspace / "tiny"


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Path:
    """A whole model folder, for the test to spoil."""
    shutil.copytree(pristine, tmp_path / "tiny")
    return tmp_path / "tiny"


def load(name: Path | str, **options: object) -> LoadedModel:
    return load_chat_model(str(name), models_dir=settings.OLLA_MODELS_DIR, **options)  # type: ignore[arg-type]


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.model
def test_the_demo_knows_the_capital_of_france() -> None:
    demo = load("demo")
    question = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = demo.tokenizer.apply_chat_template(question, add_generation_prompt=True)

    answer = generate(demo.model, demo.tokenizer, prompt, max_tokens=16)

    assert answer == "The capital of France is Paris."
    assert (demo.name, demo.context_length, demo.vocabulary_size) == ("SmolLM2-135M-Instruct", 8192, 49152)


def test_a_folder_gives_the_model_its_name(folder: Path) -> None:
    loaded = load(folder)
    assert loaded.name == "tiny"
    assert loaded.path == folder.resolve()


def test_the_served_name_wins(folder: Path) -> None:
    assert load(folder, served_name="house-model").name == "house-model"


def test_it_says_how_long_a_context_and_how_wide_the_logits_are(folder: Path) -> None:
    loaded = load(folder)
    assert loaded.context_length == CONTEXT
    assert loaded.vocabulary_size == len(vocabulary())


def test_it_was_created_when_its_weights_were_written(folder: Path) -> None:
    created = int((folder / "model.safetensors").stat().st_mtime)
    assert load(folder).created == load(folder).created == created


@pytest.mark.skipif(mx.default_device() != mx.Device(mx.cpu), reason="weights stay as they are on a GPU")
def test_a_cpu_gets_every_weight_as_float32(folder: Path) -> None:
    weights = load(folder).model.parameters()

    assert {str(array.dtype) for array in flat(weights)} == {"mlx.core.float32"}


@pytest.mark.skipif(mx.default_device() != mx.Device(mx.cpu), reason="weights stay as they are on a GPU")
def test_weights_that_stay_quantised_compute_the_same(folder: Path) -> None:
    ids = mx.array([[1, 70, 120, 33, 2]])
    dense, quantised = load(folder, dense=True).model, load(folder, dense=False).model

    assert {str(array.dtype) for array in flat(quantised.parameters())} == {
        "mlx.core.float32",
        "mlx.core.uint32",
    }
    np.testing.assert_allclose(np.array(dense(ids)), np.array(quantised(ids)), atol=1e-4)


@pytest.mark.skipif(mx.default_device() != mx.Device(mx.cpu), reason="weights stay as they are on a GPU")
def test_weights_stay_quantised_when_float32_does_not_fit(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 900 kB\nMemAvailable: 100 kB\nSwapFree: 900000 kB\n")
    monkeypatch.setattr(free_memory, "MEMORY_INFO", tmp_path / "meminfo")

    weights = load(folder).model.parameters()

    assert "mlx.core.uint32" in {str(array.dtype) for array in flat(weights)}
    assert "float32 takes 0.0 GB, and 0.0 GB are free" in caplog.text


def test_a_model_without_a_chat_template_is_served_and_named(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    edit(folder / "tokenizer_config.json", chat_template=None)

    tokenizer = load(folder).tokenizer
    assert not tokenizer.has_chat_template
    with pytest.raises(ApiError, match="no chat template, so it cannot chat"):
        prompt_tokens(tokenizer, [{"role": "user", "content": "Hi."}], {})
    assert "has no chat template: it serves completions, and refuses chat" in caplog.text


# --- What can be wrong ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["no-such-model", "./no/such/folder", "~/no-such-folder", "a/b/c", ""])
def test_a_name_that_is_nothing_is_refused_at_once(name: str) -> None:
    with pytest.raises(ModelNotFound, match="neither the word demo, nor a folder here"):
        load(name)


def test_a_file_is_no_model(folder: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"config\.json is a file\. A model is a folder"):
        load(folder / "config.json")


def test_a_folder_without_config_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelBroken, match=r"is no model folder: it has no config\.json"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("config.json", "{", r"/config\.json cannot be read: Expecting"),
        ("config.json", "[]", r"/config\.json does not hold a JSON object"),
        ("config.json", "{}", r"/config\.json does not say which model_type it is"),
        ("tokenizer_config.json", "{", r"/tokenizer_config\.json cannot be read: Expecting"),
    ],
)
def test_a_damaged_config_is_named(folder: Path, file: str, content: str, sentence: str) -> None:
    (folder / file).write_text(content)

    with pytest.raises(ModelBroken, match=sentence):
        load(folder)


def test_a_model_of_an_unknown_type_is_named(folder: Path) -> None:
    edit(folder / "config.json", model_type="perceptron")

    with pytest.raises(ModelBroken, match="Model type perceptron not supported"):
        load(folder)


def test_an_embedding_model_is_sent_to_its_own_option(folder: Path) -> None:
    edit(folder / "config.json", model_type="bert")

    with pytest.raises(ModelBroken, match=r"embedding model \(bert\): give it with --embedding-model"):
        load(folder)


def test_code_that_comes_with_a_model_is_not_run(folder: Path, tmp_path: Path) -> None:
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    edit(folder / "config.json", model_file="evil.py")

    with pytest.raises(ModelBroken, match=r"run code of its own \(evil\.py\)"):
        load(folder)
    assert not (tmp_path / "ran").exists()


def test_missing_weights_are_named(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.unlink()
    with pytest.raises(ModelBroken, match=r"has no weights: no model\*\.safetensors is there\.$"):
        load(folder)
    weights.symlink_to("gone")  # as where the files of a hub's cache were cleared away
    with pytest.raises(ModelBroken, match=r"/model\.safetensors cannot be read: No such file"):
        load(folder)


@pytest.mark.parametrize(
    ("file", "advice"),
    [("model-q4.gguf", "look for the model in MLX format"), ("pytorch_model.bin", "mlx_lm.convert")],
)
def test_weights_in_another_format_bring_advice(folder: Path, file: str, advice: str) -> None:
    (folder / "model.safetensors").rename(folder / file)

    with pytest.raises(ModelBroken, match=advice):
        load(folder)


def test_a_missing_shard_is_named(folder: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    with pytest.raises(
        ModelBroken, match=r"1 file\(s\) that are not there, model-00002-of-00002\.safetensors"
    ):
        load(folder)


def test_a_download_that_broke_off_is_told_with_the_numbers(folder: Path) -> None:
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-100])

    with pytest.raises(ModelBroken, match=f"has {len(content) - 100} bytes and should have {len(content)}"):
        load(folder)


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 100, (20).to_bytes(8, "little") + b"x" * 20])
def test_weights_that_are_noise_are_told(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)

    with pytest.raises(ModelBroken, match=r"model\.safetensors is damaged"):
        load(folder)


def test_weights_that_do_not_fit_the_config_are_told(folder: Path) -> None:
    edit(folder / "config.json", num_hidden_layers=3)

    with pytest.raises(ModelBroken, match="could not be loaded: ValueError: Missing"):
        load(folder)


def test_a_chat_template_that_is_none_is_told_before_anybody_chats(folder: Path) -> None:
    edit(
        folder / "tokenizer_config.json", chat_template="{% for message in messages %}\n{{ message.content }}"
    )

    with pytest.raises(ModelBroken, match=r"tiny has a chat template that cannot be read: .* in line 2"):
        load(folder)


def test_a_chat_template_that_wants_another_conversation_is_none_the_worse(folder: Path) -> None:
    edit(folder / "tokenizer_config.json", chat_template="{{ raise_exception('A system message first.') }}")

    assert load(folder).tokenizer.has_chat_template


def test_a_missing_tokenizer_is_named(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()

    with pytest.raises(ModelBroken, match=r"has no tokenizer: neither tokenizer\.json nor"):
        load(folder)


def flat(tree: object) -> list[mx.array]:
    return [array for _, array in cast("list[tuple[str, mx.array]]", tree_flatten(tree))]


def write_adapter(folder: Path, *, model: LoadedModel) -> Path:
    """One whose layers change what the model says."""
    folder.mkdir()
    settings = {"rank": 2, "dropout": 0.0, "scale": 20.0}
    config = {"fine_tune_type": "lora", "num_layers": 2, "lora_parameters": settings}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    model.model.freeze()
    linear_to_lora_layers(model.model, 2, settings)
    weights: Any = tree_flatten(model.model.trainable_parameters())
    assert weights
    arrays = {name: mx.random.normal(array.shape) for name, array in weights}
    mx.save_safetensors(str(folder / "adapters.safetensors"), arrays)
    return folder


def test_an_adapter_changes_what_the_model_says(folder: Path, tmp_path: Path) -> None:
    prompt = mx.array([[1, 2, 3]])
    plain = load(folder).model(prompt)

    adapter = write_adapter(tmp_path / "adapter", model=load(folder))
    assert not mx.allclose(load(folder, making=Making(adapter)).model(prompt), plain).item()

    (adapter / "adapters.safetensors").unlink()
    with pytest.raises(ModelBroken, match=r"is no adapter of mlx-lm: it has no adapters\.safetensors"):
        load(folder, making=Making(adapter))


def test_code_that_comes_with_a_model_is_run_when_that_is_allowed(folder: Path) -> None:
    edit(folder / "config.json", model_file="own.py")
    (folder / "own.py").write_text("from mlx_lm.models.llama import *\n")

    assert load(folder, making=Making(runs_own_code=True)).context_length == CONTEXT
