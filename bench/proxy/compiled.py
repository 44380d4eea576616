"""Compiles the stub and the load generator at first use, into a cache folder that is keyed by their text."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from bench.proxy.errors import BenchError

SOURCES = Path(__file__).resolve().parent
FLAGS = ("-O2", "-Wall", "-Wextra")
PROGRAMS = {"stub": ("stub.c",), "load": ("load.c", "answer.c")}


def program(name: str) -> Path:
    """The path of one of PROGRAMS. Raises BenchError when it cannot be compiled."""
    text = b"".join(file.read_bytes() for file in sorted(SOURCES.glob("*.[ch]"))) + repr(FLAGS).encode()
    path = _cache_folder() / f"{name}-{hashlib.sha256(text).hexdigest()[:16]}"
    if not path.exists():
        _compile([SOURCES / file for file in PROGRAMS[name]], path)
    return path


def _compile(sources: list[Path], path: Path) -> None:
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise BenchError(
            "The stub and the load generator are written in C, and there is no C compiler here. "
            "Install one (Debian, Ubuntu: apt install gcc libc6-dev), or name it with CC=/path/to/cc."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    # Renamed when whole: a run that is interrupted here leaves nothing half.
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    made = subprocess.run(
        [compiler, *FLAGS, "-o", str(draft), *map(str, sources)], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        raise BenchError(f"{compiler} could not compile {path.name}:\n{made.stderr}")
    draft.rename(path)


def _cache_folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "ollaproject-bench"
