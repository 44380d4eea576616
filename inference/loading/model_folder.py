"""Finds the folder of a model, and checks that it is whole before MLX touches it.

A model is named `demo`, by a local folder, or by its Hugging Face id. Every fault is a sentence that says
which file and what to try, where the libraries below raise a KeyError from the depth of a model's code.
"""

from __future__ import annotations

import errno
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.errors import ModelBroken, ModelNotFound

if TYPE_CHECKING:
    from collections.abc import Callable

DEMO = "demo"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
# No *.py: a model's own code is never run. "*" also matches a "/", as in 1_Pooling/config.json.
HUB_PATTERNS = ["*.json", "model*.safetensors", "tokenizer.model", "*.tiktoken", "*.txt", "*.jinja"]
HUB_IGNORED = ["onnx/*", "openvino/*", "original/*"]
WEIGHT_FILES = "model*.safetensors"
WEIGHT_INDEX = "model.safetensors.index.json"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tiktoken.model", "*.tiktoken", "vocab.json")
TOKENIZER_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
ENCODER_TYPES = frozenset({"bert", "roberta", "xlm-roberta"})
HEADER_LENGTH_BYTES = 8
# A disk, a quota, a file as large as its file system can have: none of it passes by itself.
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors format itself


def locate(name: str, *, demo: Callable[[], Path]) -> Path:
    """The folder of the model called `name`; `demo` makes the one that the word `demo` stands for.

    A Hugging Face id is downloaded into Hugging Face's own cache, or found there (HF_HOME, HF_TOKEN,
    HF_ENDPOINT and HF_HUB_OFFLINE are honoured). Raises ModelNotFound.
    """
    if name == DEMO:
        return demo()
    folder = Path(name).expanduser()
    if name and folder.is_dir():  # the path of an empty name would be the current folder
        return folder.resolve()
    if folder.is_file():
        raise ModelNotFound(f"{name} is a file. A model is a folder with config.json and safetensors in it.")
    if HUB_ID.fullmatch(name) and not name.startswith((".", "/", "~")):
        return _download(name)
    raise ModelNotFound(
        f"There is no model {name!r}: it is neither the word demo, nor a folder here, nor a Hugging Face id "
        "such as mlx-community/Llama-3.2-3B-Instruct-4bit."
    )


def default_name(name: str, folder: Path) -> str:
    """What clients call a model that was given no other name: its Hugging Face id, or its folder's name."""
    return name if name != DEMO and not Path(name).expanduser().exists() else folder.name


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's config.json. Raises ModelBroken when it is missing, damaged, or names no model_type."""
    config = read_json(folder / "config.json")
    if config is None:
        raise ModelBroken(f"{folder} is no model folder: it has no config.json.")
    if not isinstance(config.get("model_type"), str):
        raise ModelBroken(f"{folder / 'config.json'} does not say which model_type it is.")
    return config


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in the file, or None when there is no such file."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ModelBroken(f"{path} cannot be read: {error}. Try to download the model again.") from error
    if not isinstance(content, dict):
        raise ModelBroken(f"{path} does not hold a JSON object.")
    return content


def check_role(config: dict[str, Any], *, embeds: bool, name: str) -> None:
    """Raise ModelBroken unless the model of this configuration, called `name`, can do what is wanted."""
    kind = config["model_type"]
    if kind in ENCODER_TYPES and not embeds:
        raise ModelBroken(f"{name} holds an embedding model ({kind}): choose embeddings as its kind.")
    if kind not in ENCODER_TYPES and embeds:
        raise ModelBroken(f"{name} holds no embedding model that is known here, but one of type {kind}.")


def check_tokenizer(folder: Path) -> None:
    """Raise ModelBroken when the folder holds no tokenizer of any kind, or says of it what is no JSON."""
    if not any(any(folder.glob(pattern)) for pattern in TOKENIZER_FILES):
        raise ModelBroken(f"{folder} has no tokenizer: neither tokenizer.json nor tokenizer.model is there.")
    for name in TOKENIZER_SETTINGS:
        read_json(folder / name)


def check_weights(folder: Path) -> list[Path]:
    """The weight files, each of them as long as its own header says. Raises ModelBroken."""
    files = sorted(folder.glob(WEIGHT_FILES))
    if not files:
        raise ModelBroken(
            f"{folder} has no weights: no {WEIGHT_FILES} is there.{_advice_without_weights(folder)}"
        )
    index = read_json(folder / WEIGHT_INDEX)
    named = set(index.get("weight_map", {}).values()) if index else set()
    missing = sorted(named - {file.name for file in files})
    if missing:
        raise ModelBroken(
            f"{folder} is incomplete: {WEIGHT_INDEX} names {len(missing)} file(s) that are not there, "
            f"{missing[0]} for one. Download the model again."
        )
    for file in files:
        try:
            _check_length(file)
        except OSError as error:
            raise ModelBroken(f"{file} cannot be read: {error.strerror}.") from error
    return files


def modified_at(files: list[Path]) -> int:
    """Unix time of the newest file: the same at every start, so it can serve as the model's `created`."""
    return int(max(file.stat().st_mtime for file in files))


def _advice_without_weights(folder: Path) -> str:
    if any(folder.glob("*.gguf")):
        return " A GGUF file is, which MLX does not serve: look for the model in MLX format."
    if any(folder.glob("*.bin")) or any(folder.glob("*.npz")):
        return " There are weights in another format: convert them with mlx_lm.convert."
    return ""


def read_header(file: Path) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file, and how many bytes stand before the arrays. Raises ModelBroken."""
    size = file.stat().st_size
    with file.open("rb") as content:
        header_length = int.from_bytes(content.read(HEADER_LENGTH_BYTES), "little")
        if not 0 < header_length <= min(size - HEADER_LENGTH_BYTES, MAX_HEADER_BYTES):
            raise ModelBroken(f"{file} is damaged: it does not begin like a safetensors file. {_again(file)}")
        header = content.read(header_length)
    try:
        arrays: dict[str, Any] = json.loads(header)
        arrays.pop("__metadata__", None)
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelBroken(f"{file} is damaged: its header cannot be read. {_again(file)}") from error
    return arrays, HEADER_LENGTH_BYTES + header_length


def _check_length(file: Path) -> None:
    """A safetensors file is a length, a JSON header of that length, and the arrays where the header says."""
    arrays, begin = read_header(file)
    try:
        data_length = max((int(entry["data_offsets"][1]) for entry in arrays.values()), default=0)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise ModelBroken(f"{file} is damaged: its header cannot be read. {_again(file)}") from error
    size, expected = file.stat().st_size, begin + data_length
    if size != expected:
        raise ModelBroken(
            f"{file} is damaged: it has {size} bytes and should have {expected}. {_again(file)}"
        )


def _again(file: Path) -> str:
    return f"Delete {file.name}, and download the model again."


def _download(hub_id: str) -> Path:
    from huggingface_hub import constants, snapshot_download  # noqa: PLC0415 (half a second that a local model spares)
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError  # noqa: PLC0415

    try:
        return Path(snapshot_download(hub_id, allow_patterns=HUB_PATTERNS, ignore_patterns=HUB_IGNORED))
    except GatedRepoError as error:
        raise ModelNotFound(
            f"{hub_id} asks for permission: accept its terms on its Hugging Face page, then set HF_TOKEN."
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelNotFound(
            f"There is no model {hub_id} on Hugging Face, or it is private and HF_TOKEN does not open it."
        ) from error
    except Exception as error:  # errors of its HTTP library come through, and which library that is varies
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise disk_full(hub_id, constants.HF_HUB_CACHE, error) from error
        raise ModelNotFound(
            f"{hub_id} could not be downloaded from Hugging Face: {_first_line(error)}. Check the connection "
            "(HF_ENDPOINT names a mirror), or give the path of a local folder."
        ) from error


def disk_full(hub_id: str, folder: str, error: OSError) -> ModelNotFound:
    return ModelNotFound(
        f"{hub_id} could not be stored: the disk of {folder} is full ({error.strerror}). Make room there and "
        "start again: what has come is kept."
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
