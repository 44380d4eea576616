"""Compiles our C++ for a Linux CPU, and puts it in front of OpenBLAS: products of few rows, and attention.

What a step of a few answers takes is most of all the weights' way from memory. OpenBLAS copies them before it
multiplies; few_rows.cpp does not. What a prompt takes besides products with weights is attention,
which MLX computes in many small steps; attention.cpp does it in one. docs/inference.md has figures.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import shutil
import subprocess
from pathlib import Path

from inference.hardware.made_once import made_once

logger = logging.getLogger(__name__)

FOLDER = Path(__file__).parent
SOURCES = FOLDER / "few_rows.cpp", FOLDER / "attention.cpp"
INCLUDED = (FOLDER / "vectors.hpp",)
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fopenmp", "-fno-exceptions", "-fPIC", "-shared")
COMPILE_TIMEOUT_SECONDS = 60
CPU = Path("/proc/cpuinfo")


class CannotCompile(Exception):
    """The message is a sentence that says why."""


class Kernels:
    """The compiled library, in the global scope of this process. Products use so many `threads`."""

    def __init__(self, library: ctypes.CDLL, blas: ctypes.CDLL, threads: int) -> None:
        begin = library.few_rows_begin
        begin.argtypes, begin.restype = (ctypes.c_void_p, ctypes.c_int), None
        begin(ctypes.cast(blas.cblas_sgemm, ctypes.c_void_p), threads)
        self.threads = threads
        self.attend = library.attend
        self.attend.argtypes, self.attend.restype = (ctypes.c_void_p,), None


_loaded: list[Kernels] = []  # by the first call of `load_in_front`, if it could


def loaded() -> Kernels | None:
    """Those of this process."""
    return _loaded[0] if _loaded else None


def load_in_front(blas: ctypes.CDLL, cache_dir: Path, *, threads: int) -> bool:
    """Load them into the global scope, before `blas` is there, which computes what is not for them.

    They are compiled on first use, and kept in `cache_dir`. False when they cannot be had: the log says why.
    """
    try:
        library = ctypes.CDLL(str(compiled(cache_dir)), mode=ctypes.RTLD_GLOBAL)
    except (CannotCompile, OSError) as error:
        logger.info("Few rows are multiplied by OpenBLAS as well, and attention is MLX's: %s", error)
        return False
    _loaded.append(Kernels(library, blas, threads))
    return True


def compiled(cache_dir: Path) -> Path:
    """The library for this processor. Raises CannotCompile and OSError.

    Its name holds a digest of all that it depends on.
    """
    compiler = shutil.which("g++")
    if compiler is None:
        raise CannotCompile("g++ is not installed.")
    target = cache_dir / f"kernels-{_digest(compiler)}.so"
    return made_once(
        target, lambda draft: _run([compiler, *FLAGS, "-o", str(draft), *(str(source) for source in SOURCES)])
    )


def _digest(compiler: str) -> str:
    content = hashlib.sha256(" ".join(FLAGS).encode())
    for source in (*SOURCES, *INCLUDED):
        content.update(source.read_bytes())
    content.update(_run([compiler, "--version"]).encode())
    content.update(_abilities().encode())
    return content.hexdigest()[:16]


def _abilities() -> str:
    """What instructions the processor has: the folder may be shared by several machines."""
    lines = CPU.read_text().splitlines()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(  # noqa: S603
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMPILE_TIMEOUT_SECONDS,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        raise CannotCompile(f"{command[0]} did not finish within {COMPILE_TIMEOUT_SECONDS} s.") from None
    if done.returncode:
        raise CannotCompile(f"{command[0]} failed: {done.stderr.strip()}")
    return done.stdout
