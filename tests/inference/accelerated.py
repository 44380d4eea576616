"""Processes that put OpenBLAS in front of MLX: a library cannot be unloaded, nor an import undone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT_ROOT = Path(__file__).resolve().parents[2]

# Accelerates, and prints what came of it as JSON; {before} runs first, {after} last and may add to `found`.
PROGRAM = """
import json, logging, os, sys, time
from pathlib import Path
logging.basicConfig(format="%(levelname)s %(message)s")
from inference.hardware import blas
{before}
done = blas.accelerate(cache_dir=Path(sys.argv[1]), threads={threads})
found = {{
    "library": str(done.library), "threads": done.threads, "compiled": done.kernels_compiled,
    "environment": dict(os.environ), "mlx_was_imported": "mlx.core" in sys.modules,
    "has_kernels": done.has_kernels,
}}
{after}
print(json.dumps(found))
"""


def launch(
    cache_dir: Path, *, before: str = "", after: str = "", threads: int | None = None, **environment: str
) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(before=before, after=after, threads=threads), str(cache_dir)],
        cwd=PROJECT_ROOT,
        env={**kept, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return {**json.loads(output), "log": errors}
