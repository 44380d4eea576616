"""Turns texts into vectors with an embedding model of the sentence-transformers kind.

How tokens become one vector is what the model's own files say (modules.json, 1_Pooling), not what is usual.
Nothing is cut off silently: an input that is too long is refused with the numbers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import mlx.core as mx
import numpy as np
from tokenizers import Tokenizer

from inference.embeddings.bert import Bert, BertConfig
from inference.embeddings.matryoshka import Lengths
from inference.errors import InputInvalid, InputTooLong, ModelBroken
from inference.hardware.on_cpu import computes_on_cpu
from inference.http import far_too_long
from inference.loading import model_folder
from inference.loading.demo import demo_embedding_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

MEAN = "mean"
CLS = "cls"
# How 1_Pooling/config.json says it: one key is true (the older way), or `pooling_mode` holds the word.
POOLING_KEYS = {"pooling_mode_mean_tokens": MEAN, "pooling_mode_cls_token": CLS}
# Padding included. It bounds the memory of a pass, and how long other work on the same thread waits for it:
# 0.3 s on two cores with the demo model.
TOKENS_PER_PASS_CPU = 512
TOKENS_PER_PASS_GPU = 16_384
NORM_FLOOR = 1e-12


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model's token vectors become the vector of the text."""

    pooling: str
    normalize: bool
    max_tokens: int
    lower_case: bool
    lengths: Lengths | None = None


class Encoder:
    """An embedding model. Tokenize anywhere; call `passes` and `encode` on the thread that owns MLX.

    `dimensions` is the length of a vector, `lengths` those that may be asked for, `max_tokens` the longest
    input with its special tokens counted, `created` is Unix time and the same at every start. A pass has
    `tokens_per_pass` at the most, padding included.
    """

    def __init__(self, name: str, *, bert: Bert, recipe: Recipe, tokenizer: Tokenizer, created: int) -> None:
        self.name = name
        self.created = created
        self.dimensions = bert.config.hidden_size
        self.lengths = recipe.lengths or Lengths(self.dimensions)
        self.max_tokens = recipe.max_tokens
        self.vocabulary_size = bert.config.vocab_size
        self._bert = bert
        self._recipe = recipe
        self._tokenizer = tokenizer
        self.tokens_per_pass = TOKENS_PER_PASS_CPU if computes_on_cpu() else TOKENS_PER_PASS_GPU

    def tokenize(self, inputs: Sequence[str | Sequence[int]], *, first: int = 0) -> list[list[int]]:
        """The ids of each input. One that is ids already is taken as it is, special tokens included.

        Raises InputTooLong or InputInvalid, with the input's place in the request's list, where that of the
        first one is `first`.
        """
        token_lists = []
        for place, item in enumerate(inputs, first):
            tokens = self._far_too_long(item)
            if tokens is not None:
                raise self._too_long(place, f"at least {tokens}")
            ids = self._ids(item)
            if not ids:
                raise InputInvalid(f"Input {place} has no tokens.")
            if len(ids) > self.max_tokens:
                raise self._too_long(place, str(len(ids)))
            if not all(0 <= token < self.vocabulary_size for token in ids):
                raise InputInvalid(
                    f"Input {place} holds a token id that {self.name} does not have: "
                    f"they run from 0 to {self.vocabulary_size - 1}."
                )
            token_lists.append(ids)
        return token_lists

    def encode(self, token_lists: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """One vector per input, in their order: an array (inputs, dimensions)."""
        vectors = np.empty((len(token_lists), self.dimensions), dtype=np.float32)
        for places, found in self.passes(token_lists):
            vectors[places] = found
        return vectors

    def passes(self, token_lists: Sequence[Sequence[int]]) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
        """The same in bounded steps: places in `token_lists`, and their vectors. Other work fits in between.

        Inputs of like length go together, so that little is spent on padding.
        """
        places = sorted(range(len(token_lists)), key=lambda place: len(token_lists[place]), reverse=True)
        while places:
            longest = len(token_lists[places[0]])
            count = max(1, self.tokens_per_pass // longest)
            group, places = places[:count], places[count:]
            yield group, self._pass([token_lists[place] for place in group], longest)

    def _far_too_long(self, item: str | Sequence[int]) -> int | None:
        if not isinstance(item, str):
            return None
        return far_too_long.counted(
            item,
            self.max_tokens,
            lambda piece: len(self._tokenizer.encode(piece, add_special_tokens=False).ids),
        )

    def _too_long(self, place: int, tokens: str) -> InputTooLong:
        return InputTooLong(
            f"Input {place} has {tokens} tokens, and {self.name} reads at most {self.max_tokens}. "
            "Split it into shorter ones."
        )

    def _ids(self, item: str | Sequence[int]) -> list[int]:
        if not isinstance(item, str):
            return list(item)
        text = item.lower() if self._recipe.lower_case else item
        return list(self._tokenizer.encode(text).ids)

    def _pass(self, token_lists: Sequence[Sequence[int]], length: int) -> NDArray[np.float32]:
        ids = np.zeros((len(token_lists), length), dtype=np.int32)
        for row, tokens in enumerate(token_lists):
            ids[row, : len(tokens)] = tokens
        lengths = [len(tokens) for tokens in token_lists]
        hidden = self._bert(mx.array(ids), lengths if min(lengths) < length else None)
        vectors = hidden[:, 0] if self._recipe.pooling == CLS else _mean(hidden, mx.array(lengths))
        if self._recipe.normalize:
            vectors = vectors / mx.maximum(mx.linalg.norm(vectors, axis=-1, keepdims=True), NORM_FLOOR)
        mx.eval(vectors)
        return np.array(vectors)


def load_encoder(name: str, *, models_dir: Path, served_name: str | None = None) -> Encoder:
    """Load `demo`, a local folder or a Hugging Face id; `models_dir` keeps the demo model.

    Raises ModelNotFound or ModelBroken with a sentence that says what to try.
    """
    folder = model_folder.locate(name, demo=partial(demo_embedding_model, models_dir))
    raw_config = model_folder.read_config(folder)
    try:
        config = BertConfig.from_json(raw_config)
    except ModelBroken as error:
        raise ModelBroken(f"{folder} cannot serve embeddings. {error}") from error
    weight_files = model_folder.check_weights(folder)
    encoder = Encoder(
        served_name or model_folder.default_name(name, folder),
        bert=_load_bert(config, weight_files),
        recipe=replace(
            read_recipe(folder, config),
            lengths=Lengths.from_config(raw_config, whole=config.hidden_size),
        ),
        tokenizer=_load_tokenizer(folder),
        created=model_folder.modified_at(weight_files),
    )
    encoder.encode([[0], [0, 0]])  # compiles the kernels, so that no client waits for them
    return encoder


def read_recipe(folder: Path, config: BertConfig) -> Recipe:
    """What modules.json and the files that it names say; without it, the mean of the tokens.

    Raises ModelBroken for a step that is not known here: leaving it out would give wrong vectors.
    """
    pooling, normalize = MEAN, False
    for module in _modules(folder):
        step = module["type"].rsplit(".", 1)[-1]
        if step == "Pooling":
            pooling = _pooling(folder / module["path"] / "config.json")
        elif step == "Normalize":
            normalize = True
        elif step != "Transformer":
            raise ModelBroken(f"{folder} cannot serve embeddings: its step {step} is not known here.")
    settings = model_folder.read_json(folder / "sentence_bert_config.json") or {}
    return Recipe(
        pooling=pooling,
        normalize=normalize,
        max_tokens=min(settings.get("max_seq_length") or config.max_tokens, config.max_tokens),
        lower_case=bool(settings.get("do_lower_case")),
    )


def _modules(folder: Path) -> list[dict[str, Any]]:
    path = folder / "modules.json"
    try:
        modules = json.loads(path.read_bytes())
        return [{"type": str(module["type"]), "path": str(module["path"])} for module in modules]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelBroken(f"{path} cannot be read: {type(error).__name__}: {error}.") from error


def _pooling(path: Path) -> str:
    settings = model_folder.read_json(path)
    if settings is None:
        raise ModelBroken(
            f"{path} is missing: it says how tokens become one vector. Download the model again."
        )
    named = settings.get("pooling_mode")
    words = {key for key, value in settings.items() if key.startswith("pooling_mode_") and value is True}
    modes = {str(named)} if named else {POOLING_KEYS.get(key, key) for key in words}
    if modes not in ({MEAN}, {CLS}):
        asked = " and ".join(sorted(modes)) or "nothing"
        raise ModelBroken(f"{path} asks for pooling by {asked}; known are mean and cls.")
    return modes.pop()


def _load_bert(config: BertConfig, weight_files: list[Path]) -> Bert:
    bert = Bert(config)
    try:
        weights: dict[str, mx.array] = {}
        for file in weight_files:
            weights.update(cast("dict[str, mx.array]", mx.load(str(file))))
        bert.load(weights)
    except (RuntimeError, ValueError) as error:
        folder = weight_files[0].parent
        raise ModelBroken(
            f"{folder} does not hold the weights that its config.json promises: {error}"
        ) from error
    return bert


def _load_tokenizer(folder: Path) -> Tokenizer:
    path = folder / "tokenizer.json"
    if not path.exists():
        raise ModelBroken(f"{folder} has no tokenizer.json. Save the model's fast tokenizer into the folder.")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the tokenizers library raises nothing narrower
        raise ModelBroken(f"{path} cannot be read: {error}. Download the model again.") from error
    # Published files cut and pad to lengths of their own. Ours are counted first, and padded per pass.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _mean(hidden: mx.array, lengths: mx.array) -> mx.array:
    """Of the tokens [rows, length, hidden] that are no padding."""
    is_real = (mx.arange(hidden.shape[1]) < lengths[:, None])[..., None]
    return (hidden * is_real).sum(axis=1) / lengths[:, None]
