"""The servers that are measured: same model folder, dense float32 weights, same BLAS, each in a process."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from bench.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

READY_SECONDS = 300
STOP_SECONDS = 15
MAKE_DENSE = """
import sys
from pathlib import Path
import mlx.core as mx
from mlx_lm.utils import dequantize_model, load_model, save_model
model, config = load_model(Path(sys.argv[1]))
model.set_dtype(mx.float32)
dequantize_model(model)
model.set_dtype(mx.float32)
save_model(sys.argv[2], model)
"""


@dataclass(frozen=True, slots=True)
class Server:
    """`model` is what its requests call the model. `pid` is its process, None where that is not ours."""

    name: str
    url: str
    model: str
    pid: int | None = None


def dense_copy(source: Path, folder: Path) -> Path:
    """The model of `source` with float32 weights, made once."""
    if (folder / "tokenizer.json").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    subprocess.run([sys.executable, "-c", MAKE_DENSE, str(source), str(folder)], check=True)
    text = (source / "config.json").read_text()
    (folder / "config.json").write_text(_without_quantization(text))
    for name in ("generation_config.json", "tokenizer_config.json", "tokenizer.json"):
        shutil.copy(source / name, folder / name)
    return folder


@contextlib.contextmanager
def ours(folder: Path, environment: dict[str, str]) -> Iterator[Server]:
    port = free_port()
    command = [sys.executable, "manage.py", "serve_model", str(folder), "--port", str(port)]
    limits = ["--served-model-name", "bench", "--max-batch-size", "32", "--no-speculation"]
    with _running([*command, *limits], environment, port) as pid:
        yield Server("ours", f"http://127.0.0.1:{port}", "bench", pid)


@contextlib.contextmanager
def peer(name: str, folder: Path, python: Path, environment: dict[str, str]) -> Iterator[Server]:
    """Another server, of the virtual environment that `python` belongs to, as its own pages start it."""
    port = free_port()
    bin_dir = python.parent
    commands = {
        "mlx_lm.server": [python, "-m", "mlx_lm", "server", "--model", folder],
        "vllm-mlx": [bin_dir / "vllm-mlx", "serve", folder, "--continuous-batching"],
        "mlx-openai-server": [
            bin_dir / "mlx-openai-server",
            "launch",
            "--model-path",
            folder,
            "--model-type",
            "lm",
        ],
    }
    command = [*map(str, commands[name]), "--port", str(port)]
    with _running(command, {**environment, "HF_HUB_OFFLINE": "1"}, port) as pid:
        yield Server(name, f"http://127.0.0.1:{port}", str(folder), pid)


@contextlib.contextmanager
def _running(command: list[str], environment: dict[str, str], port: int) -> Iterator[int]:
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_until_healthy(process, port)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_healthy(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).status_code == httpx.codes.OK:
                return
        time.sleep(0.2)
    raise SystemExit(f"{process.args!r} did not become healthy within {READY_SECONDS} s.")


def _without_quantization(config: str) -> str:

    fields = json.loads(config)
    for name in ("quantization", "quantization_config"):
        fields.pop(name, None)
    return json.dumps({**fields, "torch_dtype": "float32"}, indent=1)
