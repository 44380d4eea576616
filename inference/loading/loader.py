"""Loads a chat model: its folder is checked, its weights are made fit for this machine, its kernels are warm.

Only the process that runs the model imports this room, after `blas.accelerate()`: it brings MLX. Load on the
thread that will generate, and call `mx.synchronize(); mx.clear_streams()` before that thread ends.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import mlx.core as mx
from jinja2 import TemplateSyntaxError

# Transformers is here for its tokenizers; that PyTorch is absent is no news.
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")

from mlx_lm.generate import BatchGenerator
from mlx_lm.utils import (
    dequantize_model,
    get_total_parameters,
    load_adapters,
    load_model,
    load_tokenizer,
)

from inference.errors import ModelBroken
from inference.hardware.free_memory import available_memory, loadable_memory
from inference.hardware.large_pages import use_large_pages
from inference.hardware.memory import is_lack_of_memory
from inference.hardware.on_cpu import computes_on_cpu
from inference.http.sampling_fields import OPENAI
from inference.loading import model_folder
from inference.loading.demo import demo_chat_model
from inference.loading.footprint import DENSE_SHARE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mlx_lm.tokenizer_utils import TokenizerWrapper

    from inference.work import Sampling

logger = logging.getLogger(__name__)

# How configurations name the longest context, the commonest first.
CONTEXT_KEYS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "max_sequence_length",
    "seq_length",
    "n_ctx",
)
# Some models have no limit of their own, and say so with a number like 1e30.
DEFAULT_CONTEXT_LENGTH = 8192
SANE_CONTEXT_LENGTH = 100_000_000
ADAPTER_FILES = ("adapter_config.json", "adapters.safetensors")
FLOAT32_BYTES = 4
BESIDE_WEIGHTS_BYTES = 200 * 1000**2
"""The tokenizer with its libraries, and what a short step computes with."""
WARM_UP_PROMPT_LENGTHS = (24, 3)  # unequal, so that padding is warm too
WARM_UP_TOKENS = 3


@dataclass(frozen=True, slots=True)
class Making:
    """What becomes of a model's files. `adapter` is the folder of a LoRA adapter; `runs_own_code` lets Python
    code in the model's folder run; `shard` leaves this machine its part of a model that several run together.
    """

    adapter: Path | None = None
    runs_own_code: bool = False
    shard: Callable[[Any], None] | None = None


USUAL = Making()


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that is ready to generate.

    `name` is what clients call it. `context_length` counts prompt and completion together; `context_limit`
    is a sentence when it is this machine's memory that limits it, not the model. `vocabulary_size` is the
    width of the logits (a tokenizer may know fewer). `created` is Unix time, the same at every start.
    `usual` is how answers are sampled whose requests do not say.
    """

    name: str
    path: Path
    model: Any
    tokenizer: TokenizerWrapper
    context_length: int
    vocabulary_size: int
    created: int
    context_limit: str = ""
    template_options: Mapping[str, Any] = field(default_factory=dict)
    usual: Sampling = OPENAI


def load_chat_model(
    name: str,
    *,
    models_dir: Path,
    served_name: str | None = None,
    dense: bool | None = None,
    making: Making = USUAL,
) -> LoadedModel:
    """Load `demo`, a local folder or a Hugging Face id, ready for its first request.

    `models_dir` keeps the demo model. `dense` makes quantised weights float32, on a CPU only: many times
    faster, so it is done when memory allows, unless `dense` says True or False.

    Raises ModelNotFound, ModelBroken or another ModelError with a sentence that says what to try.
    """
    folder = model_folder.locate(name, demo=partial(demo_chat_model, models_dir))
    config = model_folder.read_config(folder)
    _check_kind(config, folder, runs_own_code=making.runs_own_code)
    weight_files = model_folder.check_weights(folder)
    model_folder.check_tokenizer(folder)
    if computes_on_cpu() and making.shard is None:
        _check_size(folder, weight_files)
    model, tokenizer = _load(folder, runs_own_code=making.runs_own_code, lazy=making.shard is not None)
    if making.adapter is not None:
        _adapt(model, making.adapter, folder)
    if computes_on_cpu():
        suit_cpu(model, dense=_fits_dense(model) if dense is None else dense)
    if making.shard is not None:
        making.shard(model)
        mx.eval(model.parameters())
    if computes_on_cpu():
        use_large_pages(model)
    if not tokenizer.has_chat_template:
        logger.warning("%s has no chat template: it serves completions, and refuses chat.", folder)
    else:
        _check_template(folder, tokenizer)
    vocabulary_size = _warm_up(model, folder)
    return LoadedModel(
        name=served_name or model_folder.default_name(name, folder),
        path=folder,
        model=model,
        tokenizer=tokenizer,
        context_length=_context_length(config, tokenizer),
        vocabulary_size=vocabulary_size,
        created=model_folder.modified_at(weight_files),
    )


def suit_cpu(model: Any, *, dense: bool) -> None:
    """Make the weights what MLX computes fastest with on a CPU; changes `model` in place.

    Half precision is computed number by number there, and so are quantised weights, anew for every row of a
    batch; only float32 products go to the BLAS. With `dense` every weight becomes float32. Without, quantised
    weights stay, and their scales, the other weights and so all activations become float32.
    """
    # Scales first: dequantised in half precision, each weight would be rounded a second time.
    model.set_dtype(mx.float32)
    if dense:
        dequantize_model(model)
        model.set_dtype(mx.float32)
    mx.eval(model.parameters())


def _check_kind(config: dict[str, Any], folder: Path, *, runs_own_code: bool) -> None:
    kind = config["model_type"]
    if kind in model_folder.ENCODER_TYPES:
        raise ModelBroken(f"{folder} holds an embedding model ({kind}): give it with --embedding-model.")
    if config.get("model_file") and not runs_own_code:
        raise ModelBroken(
            f"{folder} wants to run code of its own ({config['model_file']}). Read it, and then allow it "
            "(--runs-own-code), or look for a version of it that mlx-lm knows by itself."
        )


def _check_size(folder: Path, weight_files: list[Path]) -> None:
    """ModelBroken when memory is too small: the kernel would end the process without a word."""
    weights, free = sum(file.stat().st_size for file in weight_files), loadable_memory()
    if weights + BESIDE_WEIGHTS_BYTES > free:
        how = f"its weights take {weights / 1e9:.2f} GB, what goes with them {BESIDE_WEIGHTS_BYTES / 1e9:.2f}"
        raise _too_large(folder, f"{how}, and {free / 1e9:.2f} GB are free")


def _too_large(folder: Path, how: str) -> ModelBroken:
    return ModelBroken(
        f"{folder} does not fit into memory: {how}. End what else takes memory, or take a smaller model."
    )


def _load(folder: Path, *, runs_own_code: bool, lazy: bool) -> tuple[Any, TokenizerWrapper]:
    try:
        model, config = load_model(folder, lazy=lazy, trust_remote_code=runs_own_code)
        # A local tokenizer must not make transformers ask the hub for news.
        tokenizer = load_tokenizer(
            folder,
            {"local_files_only": True, "trust_remote_code": runs_own_code},
            eos_token_ids=config.get("eos_token_id"),
        )
    except Exception as error:  # a hundred model files raise what they like about a bad configuration
        if is_lack_of_memory(error):
            raise _too_large(folder, str(error).rstrip(".")) from error
        raise ModelBroken(
            f"{folder} could not be loaded: {type(error).__name__}: {str(error).rstrip('.')}. Download it "
            "again, or look for a version of it that mlx-lm supports."
        ) from error
    return model, tokenizer


def _check_template(folder: Path, tokenizer: TokenizerWrapper) -> None:
    """ModelBroken when the chat template is none: each chat would be refused as if its caller were wrong."""
    try:
        tokenizer.apply_chat_template([{"role": "user", "content": "."}], tokenize=False)
    except TemplateSyntaxError as error:
        raise ModelBroken(
            f"{folder} has a chat template that cannot be read: {error}, in line {error.lineno}. Download "
            "the model again."
        ) from error
    except Exception:  # noqa: BLE001 -- templates raise what they like when they want another conversation
        return


def _adapt(model: Any, adapter: Path, folder: Path) -> None:
    """Put the adapter's layers over the model's. Raises ModelBroken."""
    for name in ADAPTER_FILES:
        if not (adapter / name).is_file():
            raise ModelBroken(f"{adapter} is no adapter of mlx-lm: it has no {name}.")
    try:
        load_adapters(model, str(adapter))
        model.eval()
    except Exception as error:  # as above
        raise ModelBroken(f"{adapter} does not fit {folder}: {type(error).__name__}: {error}.") from error


def _fits_dense(model: Any) -> bool:
    """Whether float32 weights leave room in memory; says so when they do not."""
    needed = get_total_parameters(model) * FLOAT32_BYTES
    free = available_memory()
    if needed <= free * DENSE_SHARE:
        return True
    logger.warning(
        "The weights stay quantised, which is slow on a CPU: float32 takes %.1f GB, and %.1f GB are free.",
        needed / 1e9,
        free / 1e9,
    )
    return False


def _context_length(config: dict[str, Any], tokenizer: TokenizerWrapper) -> int:
    """From the configuration (of its text part, in a model that also sees), else from the tokenizer."""
    for section in (config, config.get("text_config") or {}):
        for key in CONTEXT_KEYS:
            if isinstance(section.get(key), int):
                return int(section[key])
    limit = getattr(tokenizer, "model_max_length", None)
    return int(limit) if limit and limit < SANE_CONTEXT_LENGTH else DEFAULT_CONTEXT_LENGTH


def _warm_up(model: Any, folder: Path) -> int:
    """Generate a few tokens for two prompts, lest a client wait for kernels. Return the logits' width."""
    generator = BatchGenerator(model, max_tokens=WARM_UP_TOKENS)
    try:
        vocabulary_size = int(model(mx.array([[0]])).shape[-1])
        generator.insert([[0] * length for length in WARM_UP_PROMPT_LENGTHS])
        unfinished = len(WARM_UP_PROMPT_LENGTHS)
        while unfinished:
            unfinished -= sum(response.finish_reason is not None for response in generator.next_generated())
    except Exception as error:  # the model's own code runs here for the first time
        if is_lack_of_memory(error):
            raise _too_large(folder, str(error).rstrip(".")) from error
        raise ModelBroken(
            f"{folder} was loaded but cannot generate: {type(error).__name__}: {error}."
        ) from error
    finally:
        generator.close()
    return vocabulary_size
