"""`manage.py serve_model` as a process: it starts, says what is wrong, and ends with 0 when told to stop."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from django.core.management import CommandError, call_command

from bench.ports import free_port
from inference.server import listen
from tests.inference.conftest import TINY

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 60
PAGE = "http://localhost:3000"
NO_FURTHER_THAN = 15
"""Seconds in which a process that was told to stop has to be gone, on a busy machine."""


def serve_model(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "manage.py", "serve_model", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def server_process(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    port = free_port()
    process = serve_model(str(folder), "--port", str(port), *arguments)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
            yield process, client
    finally:
        process.kill()
        process.communicate()


def statuses_until_healthy(process: subprocess.Popen[Any], client: httpx.Client) -> list[dict[str, Any]]:
    """Every different answer of /health, up to the first that is healthy."""
    seen: list[dict[str, Any]] = []
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            response = client.get("/health")
        except httpx.TransportError:
            time.sleep(0.05)
            continue
        answer = {"http": response.status_code, **response.json()}
        if answer not in seen:
            seen.append(answer)
        if response.status_code == 200:
            return seen
        time.sleep(0.05)
    raise AssertionError(f"not healthy, exit code {process.poll()}: {seen}")


def ends(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=NO_FURTHER_THAN)
    return process.returncode, errors


def answers(client: httpx.Client) -> bool:
    try:
        client.get("/health")
    except httpx.TransportError:
        return False
    return True


def test_it_says_that_it_is_loading_and_then_that_it_is_healthy(tiny_folder: Path) -> None:
    options = ("--served-model-name", "mine", "--sampling-defaults", '{"temperature": 0}')
    with server_process(tiny_folder, *options, "--allowed-origins", PAGE) as (process, client):
        seen = statuses_until_healthy(process, client)
        loading, healthy = seen[0], seen[-1]
        assert (loading["http"], loading["status"], loading["model_loaded"]) == (503, "loading", False)
        assert healthy.pop("idle_seconds") >= 0
        assert healthy == {"http": 200, "status": "healthy", "model_loaded": True, "model_name": "mine"}
        models = client.get("/v1/models", headers={"Origin": PAGE})
        assert models.json()["data"][0]["id"] == "mine"
        assert models.headers["access-control-allow-origin"] == PAGE
        body = {"model": "mine", "prompt": "On and on", "max_tokens": 24, "ignore_eos": True}
        said = {client.post("/v1/completions", json=body).json()["choices"][0]["text"] for _ in range(2)}
        assert len(said) == 1, "not greedy, as its operator wants it"
        process.send_signal(signal.SIGTERM)
        code, errors = ends(process)
    assert code == 0, errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_stops_with_0_in_the_middle_of_a_stream(tiny_folder: Path, number: signal.Signals) -> None:
    body = {"model": TINY, "prompt": "On and on", "max_tokens": 2000, "ignore_eos": True, "stream": True}
    with server_process(tiny_folder) as (process, client):
        statuses_until_healthy(process, client)
        with client.stream("POST", "/v1/completions", json=body) as response:
            lines = response.iter_lines()
            assert next(lines).startswith("data: ")
            process.send_signal(number)
            said = [next(lines)]
            with pytest.raises(httpx.RemoteProtocolError):
                said.extend(lines)
        code, errors = ends(process)
    assert code == 0, errors
    assert "Traceback" not in errors
    assert "ERROR" not in errors


def test_it_can_be_stopped_while_it_loads(tiny_folder: Path) -> None:
    with server_process(tiny_folder) as (process, client):
        while not answers(client):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=2 * NO_FURTHER_THAN)
        assert process.returncode == 0


def test_to_be_told_again_and_again_while_it_waits_for_a_model_that_loads_is_no_failure(
    tiny_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "slow")
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "model_file": "slow.py"}))
    (folder / "slow.py").write_text("import time\n\ntime.sleep(60)\n")
    with server_process(folder, "--runs-own-code") as (process, client):
        while not answers(client):
            assert process.poll() is None
            time.sleep(0.02)
        deadline = time.monotonic() + NO_FURTHER_THAN
        while process.poll() is None and time.monotonic() < deadline:
            process.send_signal(signal.SIGTERM)
            time.sleep(0.05)
        code, errors = ends(process)
    assert code == 0, errors


def test_mlx_that_cannot_be_imported_is_one_sentence_and_1(tiny_folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "mlx" / "core.py"
    broken.parent.mkdir()
    broken.write_text("raise ImportError('libmlx.so: cannot open shared object file')\n")
    process = serve_model(str(tiny_folder), "--port", str(free_port()), PYTHONPATH=str(tmp_path))
    _, errors = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 1
    why = "could not be loaded: ImportError: libmlx.so: cannot open shared object file."
    assert errors.splitlines()[-1] == f"CommandError: {tiny_folder} {why}"


def test_a_model_that_is_not_there_is_one_sentence_and_1(tmp_path: Path) -> None:
    process = serve_model(str(tmp_path / "nothing"), "--port", str(free_port()))
    _, errors = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 1
    assert "Traceback" not in errors
    assert str(tmp_path / "nothing") in errors.splitlines()[-1]


def test_a_broken_model_is_one_sentence_and_1(tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (tmp_path / "model.safetensors").write_bytes((tiny_folder / "model.safetensors").read_bytes()[:1000])
    process = serve_model(str(tmp_path), "--port", str(free_port()))
    _, errors = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 1
    assert "Traceback" not in errors
    assert "model.safetensors" in errors.splitlines()[-1]


def test_a_port_that_is_taken_is_one_sentence_and_1(tiny_folder: Path) -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        process = serve_model(str(tiny_folder), "--port", str(port))
        _, errors = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 1
    assert f"127.0.0.1:{port} cannot be listened on" in errors


@pytest.mark.parametrize(
    ("option", "value"),
    [("--max-queue", "0"), ("--context-length", "-1"), ("--stuck-after", "0"), ("--stuck-after", "nan")],
)
def test_an_option_out_of_bounds_is_named_before_anything_is_loaded(option: str, value: str) -> None:
    with pytest.raises(CommandError, match=f"{option} must be .*, not {value}"):
        call_command("serve_model", "/nowhere", "--port", str(free_port()), option, value)


def test_a_folder_that_cannot_hold_the_prompt_cache_is_named_before_a_model_is_loaded(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    for folder, why in ((tmp_path / "file", "File exists"), (tmp_path / "file" / "in it", "Not a directory")):
        sentence = re.escape(f"The prompt cache cannot be kept in {folder}: {why}.")
        with pytest.raises(CommandError, match=sentence):
            call_command(
                "serve_model", "/nowhere", "--port", str(free_port()), "--disk-cache-dir", str(folder)
            )


def test_the_help_has_an_example_and_every_option() -> None:
    process = serve_model("--help")
    output, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0
    for part in ("Example", "--embedding-model", "--max-batch-size", "--max-queue", "OLLA_MODEL_API_KEY"):
        assert part in output


def test_it_ends_when_its_parent_has_gone(tiny_folder: Path) -> None:
    port = free_port()
    command = (
        f'OLLA_PARENT_PID=$$ "{sys.executable}" manage.py serve_model "{tiny_folder}" --port {port} & wait'
    )
    parent = subprocess.Popen(["sh", "-c", command], cwd=ROOT, stderr=subprocess.DEVNULL)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
        try:
            statuses_until_healthy(parent, client)
        finally:
            parent.kill()
            parent.wait()
        deadline = time.monotonic() + DEADLINE_SECONDS
        while answers(client):
            assert time.monotonic() < deadline
            time.sleep(0.1)
