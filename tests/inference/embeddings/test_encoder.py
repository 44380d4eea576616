"""The encoder against a float64 BERT in plain NumPy, written from the paper's formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np
import pytest
from django.conf import settings
from safetensors.numpy import load_file

from inference.embeddings.encoder import TOKENS_PER_PASS_CPU, Encoder, load_encoder
from inference.errors import InputInvalid, InputTooLong, ModelBroken
from tests.inference.tiny_encoders import HIDDEN, POSITIONS, Reference, TinyFolder, cosine, unit

if TYPE_CHECKING:
    from pathlib import Path

# --- The demo model ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo() -> Encoder:
    return load_encoder("demo", models_dir=settings.OLLA_MODELS_DIR)


@pytest.mark.model
def test_the_demo_gives_the_published_similarities(demo: Encoder) -> None:
    texts = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]

    vectors = demo.encode(demo.tokenize(texts))

    similarities = vectors @ vectors.T
    np.testing.assert_allclose(similarities[np.triu_indices(3, 1)], [0.6660, 0.1046, 0.1411], atol=5e-5)


@pytest.mark.model
def test_the_demo_agrees_with_double_precision(demo: Encoder) -> None:
    weights = load_file(settings.OLLA_MODELS_DIR / demo.name / "model.safetensors")
    reference = Reference(
        {name: array.astype(np.float64) for name, array in weights.items()}, heads=12, layers=6
    )
    texts = ["The weather is lovely today.", "naïve 日本 text", "word " * 100]
    token_lists = demo.tokenize(texts)

    vectors = demo.encode(token_lists)

    for ids, vector in zip(token_lists, vectors, strict=True):
        assert cosine(vector, reference.tokens(ids).mean(axis=0)) > 0.999999


@pytest.mark.model
def test_the_demo_says_what_it_is(demo: Encoder) -> None:
    assert (demo.name, demo.dimensions, demo.max_tokens) == ("all-MiniLM-L6-v2", 384, 256)
    assert demo.created == int((settings.OLLA_MODELS_DIR / demo.name / "model.safetensors").stat().st_mtime)


@pytest.mark.model
def test_the_demo_reads_256_tokens_and_refuses_257(demo: Encoder) -> None:
    assert len(demo.tokenize(["word " * 254])[0]) == 256  # with [CLS] and [SEP]

    with pytest.raises(InputTooLong, match="Input 1 has 257 tokens, and all-MiniLM-L6-v2 reads at most 256"):
        demo.tokenize(["short", "word " * 255])


# --- Tiny models ------------------------------------------------------------------------------------------


@pytest.fixture
def tiny(tmp_path: Path) -> TinyFolder:
    (tmp_path / "tiny-bert").mkdir()
    return TinyFolder(tmp_path / "tiny-bert")


TEXTS = ["sun", "rain and snow and wind then rain then sun", "", "sun then rain", "unheard of words and wind"]


def test_vectors_come_in_the_order_of_their_inputs_whatever_their_length(tiny: TinyFolder) -> None:
    encoder = tiny.load()
    token_lists = encoder.tokenize(TEXTS)

    together = encoder.encode(token_lists)

    for ids, vector in zip(token_lists, together, strict=True):
        np.testing.assert_allclose(vector, encoder.encode([ids])[0], atol=1e-6)
        np.testing.assert_allclose(vector, unit(tiny.reference().tokens(ids).mean(axis=0)), atol=1e-5)


def test_a_model_that_pools_its_first_token_is_pooled_so(tiny: TinyFolder) -> None:
    tiny.pooling = {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}
    encoder = tiny.load()
    ids = encoder.tokenize(["rain and snow"])

    np.testing.assert_allclose(encoder.encode(ids)[0], unit(tiny.reference().tokens(ids[0])[0]), atol=1e-5)


def test_pooling_may_also_be_named_by_a_word(tiny: TinyFolder) -> None:
    tiny.pooling = {"pooling_mode": "cls"}
    encoder = tiny.load()
    ids = encoder.tokenize(["rain and snow"])

    np.testing.assert_allclose(encoder.encode(ids)[0], unit(tiny.reference().tokens(ids[0])[0]), atol=1e-5)


def test_a_model_that_does_not_normalize_keeps_its_lengths(tiny: TinyFolder) -> None:
    tiny.steps = ["Transformer", "Pooling"]
    encoder = tiny.load()
    ids = encoder.tokenize(["rain and snow"])

    np.testing.assert_allclose(
        encoder.encode(ids)[0], tiny.reference().tokens(ids[0]).mean(axis=0), atol=1e-4
    )


def test_positions_of_roberta_begin_behind_the_padding_id(tiny: TinyFolder) -> None:
    tiny.config |= {"model_type": "xlm-roberta", "pad_token_id": 1}
    encoder = tiny.load()
    ids = encoder.tokenize(["rain and snow"])

    assert encoder.max_tokens == POSITIONS - 2
    reference = tiny.reference(first_position=2).tokens(ids[0]).mean(axis=0)
    np.testing.assert_allclose(encoder.encode(ids)[0], unit(reference), atol=1e-5)


def test_checkpoints_with_heads_prefixes_and_old_names_load(tiny: TinyFolder) -> None:
    plain = dict(tiny.weights)
    renamed = {name.replace("LayerNorm.weight", "LayerNorm.gamma"): array for name, array in plain.items()}
    renamed = {name.replace("LayerNorm.bias", "LayerNorm.beta"): array for name, array in renamed.items()}
    tiny.weights = {f"bert.{name}": array for name, array in renamed.items()}
    tiny.weights |= {
        "bert.pooler.dense.weight": np.eye(HIDDEN, dtype=np.float32),
        "cls.bias": np.zeros(3, np.float32),
    }
    tiny.weights |= {"bert.embeddings.position_ids": np.arange(POSITIONS)[None]}
    encoder = tiny.load()
    ids = encoder.tokenize(["rain and snow"])

    tiny.weights = plain
    np.testing.assert_allclose(
        encoder.encode(ids)[0], unit(tiny.reference().tokens(ids[0]).mean(axis=0)), atol=1e-5
    )


def test_token_ids_are_taken_as_they_are(tiny: TinyFolder) -> None:
    encoder = tiny.load()

    assert encoder.tokenize([[2, 5, 3], "rain"]) == [[2, 5, 3], [2, 5, 3]]


@pytest.mark.parametrize(
    ("ids", "sentence"), [([], "has no tokens"), ([2, 10], "from 0 to 9"), ([-1], "from 0 to 9")]
)
def test_token_ids_that_the_model_does_not_have_are_refused(
    tiny: TinyFolder, ids: list[int], sentence: str
) -> None:
    encoder = tiny.load()

    with pytest.raises(InputInvalid, match=f"Input 1 .*{sentence}"):
        encoder.tokenize([[2], ids])


def test_no_inputs_give_no_vectors(tiny: TinyFolder) -> None:
    assert tiny.load().encode([]).shape == (0, HIDDEN)


@pytest.mark.skipif(mx.default_device() != mx.Device(mx.cpu), reason="passes are larger on a GPU")
def test_a_pass_is_bounded_and_every_input_is_in_one(tiny: TinyFolder) -> None:
    encoder = tiny.load()
    token_lists = [[2] * length for length in (*range(1, POSITIONS + 1), *[POSITIONS] * 20)]

    passes = [places for places, _ in encoder.passes(token_lists)]

    assert sorted(place for places in passes for place in places) == list(range(len(token_lists)))
    assert len(passes) > 1
    padded = [len(places) * max(len(token_lists[place]) for place in places) for places in passes]
    assert max(padded) <= TOKENS_PER_PASS_CPU


def test_the_folder_says_how_many_tokens_are_too_many(tiny: TinyFolder) -> None:
    (tiny.path / "sentence_bert_config.json").write_text('{"max_seq_length": 6, "do_lower_case": false}')
    encoder = tiny.load()

    with pytest.raises(InputTooLong, match="Input 0 has 7 tokens, and tiny-bert reads at most 6"):
        encoder.tokenize(["sun rain snow wind and"])


def test_of_a_text_that_is_far_too_long_only_the_beginning_is_counted(tiny: TinyFolder) -> None:
    encoder = tiny.load()
    sentence = rf"Input 1 has at least 228 tokens, and tiny-bert reads at most {encoder.max_tokens}"

    with pytest.raises(InputTooLong, match=sentence):
        encoder.tokenize(["sun", "sun rain " * 1000])


def test_spaces_are_no_tokens_however_many(tiny: TinyFolder) -> None:
    encoder = tiny.load()

    assert encoder.tokenize(["sun" + " " * 10_000 + "rain"]) == encoder.tokenize(["sun rain"])


def test_the_folder_says_that_case_does_not_matter(tiny: TinyFolder) -> None:
    (tiny.path / "sentence_bert_config.json").write_text('{"do_lower_case": true}')
    encoder = tiny.load()

    assert encoder.tokenize(["SUN"]) == encoder.tokenize(["sun"])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model_type": "llama"}, "Its model_type is llama; known are bert, roberta, xlm-roberta"),
        ({"position_embedding_type": "relative_key"}, "Its positions are relative_key"),
        ({"hidden_act": "snake"}, "Its activation is snake"),
        ({"quantization": {"bits": 4}}, "Its weights are quantised"),
        ({"num_hidden_layers": 3}, "does not hold the weights that its config.json promises"),
        ({"hidden_size": 64}, "does not hold the weights that its config.json promises"),
    ],
)
def test_a_network_that_is_not_this_one_is_refused(
    tiny: TinyFolder, change: dict[str, Any], sentence: str
) -> None:
    tiny.config |= change

    with pytest.raises(ModelBroken, match=sentence):
        tiny.load()


def test_a_config_without_its_sizes_is_refused(tiny: TinyFolder) -> None:
    del tiny.config["intermediate_size"]

    with pytest.raises(ModelBroken, match=r"Its config\.json has no 'intermediate_size'"):
        tiny.load()


def test_a_step_that_is_not_known_is_refused_not_left_out(tiny: TinyFolder) -> None:
    tiny.steps.insert(2, "Dense")

    with pytest.raises(ModelBroken, match="its step Dense is not known here"):
        tiny.load()


def test_a_pooling_that_is_not_known_is_refused(tiny: TinyFolder) -> None:
    tiny.pooling = {"pooling_mode_max_tokens": True}

    with pytest.raises(
        ModelBroken, match="asks for pooling by pooling_mode_max_tokens; known are mean and cls"
    ):
        tiny.load()
