"""A model with code of its own, as a server process runs it: it answers, hangs, fails and comes back."""

from __future__ import annotations

import json
import shutil
import signal
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.inference.test_serve_model import ends, server_process, statuses_until_healthy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CODE = """
import time
from pathlib import Path
from mlx_lm.models import llama
from mlx_lm.models.base import scaled_dot_product_attention
from mlx_lm.models.llama import ModelArgs

HERE = Path(__file__).parent

class Model(llama.Model):
    def __call__(self, *given, **named):
        while (HERE / "hang").exists():
            time.sleep(0.01)
        if (HERE / "fail").exists():
            raise RuntimeError("[metal::malloc] Unable to allocate 68719476736 bytes.")
        return super().__call__(*given, **named)
"""
STUCK_AFTER_SECONDS = 0.3
DEADLINE_SECONDS = 20


@pytest.fixture(scope="module")
def folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = shutil.copytree(tiny_folder, tmp_path_factory.mktemp("own") / "own-code")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_file": "own.py"}))
    (folder / "own.py").write_text(CODE)
    return folder


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[httpx.Client]:
    options = ("--runs-own-code", "--stuck-after", str(STUCK_AFTER_SECONDS))
    with server_process(folder, *options) as (process, client):
        statuses_until_healthy(process, client)
        yield client
        process.send_signal(signal.SIGTERM)
        code, errors = ends(process)
        assert code == 0, errors


@pytest.fixture
def hang(folder: Path) -> Iterator[Path]:
    yield folder / "hang"
    (folder / "hang").unlink(missing_ok=True)


@pytest.fixture
def fail(folder: Path) -> Iterator[Path]:
    yield folder / "fail"
    (folder / "fail").unlink(missing_ok=True)


def asked(max_tokens: int, **more: Any) -> dict[str, Any]:
    return {"model": "own-code", "prompt": "On and on", "max_tokens": max_tokens, "ignore_eos": True, **more}


def until(client: httpx.Client, is_so: Callable[[httpx.Response], bool]) -> httpx.Response:
    """The first answer of /health that is so: it is computed when asked, so there is nothing to wait for."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_so(health := client.get("/health")):
        assert time.monotonic() < deadline, health.text
        time.sleep(0.02)
    return health


def test_it_is_served(client: httpx.Client) -> None:
    answer = client.post("/v1/completions", json=asked(9)).json()
    assert answer["usage"]["completion_tokens"] == 9


def test_a_step_that_hangs_is_told_by_health_and_its_stream_goes_on_when_it_has_ended(
    client: httpx.Client, hang: Path
) -> None:
    with client.stream("POST", "/v1/completions", json=asked(400, stream=True)) as response:
        lines = response.iter_lines()
        next(lines)
        hang.touch()
        health = until(client, lambda health: health.status_code == 503)
        assert "is stuck: its current step has taken" in health.json()["reason"]
        began = time.monotonic()
        refused = client.post("/v1/completions", json=asked(1))
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "model_unavailable")
        assert time.monotonic() - began < DEADLINE_SECONDS / 4
        hang.unlink()
        until(client, lambda health: health.status_code == 200)
        assert [line for line in lines if line][-1] == "data: [DONE]"


def test_health_fails_for_as_long_as_the_model_fails_on_everything(client: httpx.Client, fail: Path) -> None:
    with client.stream("POST", "/v1/completions", json=asked(1900, stream=True)) as response:
        lines = response.iter_lines()
        next(lines)
        fail.touch()
        said: list[str] = []
        with pytest.raises(httpx.RemoteProtocolError):
            said.extend(lines)
        assert "ran out of memory" in "".join(said)
    health = until(client, lambda health: health.status_code == 503)
    assert "fails on everything" in health.json()["reason"]
    assert client.post("/v1/completions", json=asked(1)).json()["error"]["code"] == "model_unavailable"
    fail.unlink()
    until(client, lambda health: health.status_code == 200)
    assert client.post("/v1/completions", json=asked(3)).json()["usage"]["completion_tokens"] == 3
