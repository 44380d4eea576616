"""The openai SDK for JavaScript against the gateway: its answers, and the class of each error."""

from __future__ import annotations

import base64
import json
import os
import shutil
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes import answers
from tests.fakes.answers import HANG, RESET
from tests.proxy.conftest import target_for
from tests.services import missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.fakes.answers import SeenRequest, Step
    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = ROOT / "tests" / "javascript" / "openai_client.js"
INSTALL = ROOT / "scripts" / "install_javascript_clients.sh"
WAIT_SECONDS = 60
CLASSES = {
    "400": "BadRequestError",
    "401": "AuthenticationError",
    "403": "PermissionDeniedError",
    "404": "NotFoundError",
    "409": "ConflictError",
    "422": "UnprocessableEntityError",
    "429": "RateLimitError",
    "500": "InternalServerError",
    "503": "InternalServerError",
}


def chat(request: SeenRequest) -> Iterable[Step]:
    """What the model's name says."""
    model = request.json()["model"]
    if model == "slow":
        return answers.raw(HANG)(request)
    if model == "cut":
        return answers.sse(answers.chat_events("m1", ["half"])[:2], end=[RESET])(request)
    if model in (f"m{status}" for status in CLASSES):
        return answers.error(int(model.removeprefix("m")), "no")(request)
    return answers.chat(request)


def embeddings(request: SeenRequest) -> Iterable[Step]:
    """In base64, which is what the SDK asks for."""
    assert request.json()["encoding_format"] == "base64"
    vector = base64.b64encode(struct.pack("<3f", 0.1, 0.2, 0.3)).decode()
    rows = [{"object": "embedding", "index": index, "embedding": vector} for index in range(2)]
    usage = {"prompt_tokens": 2, "total_tokens": 2}
    return answers.respond({"object": "list", "data": rows, "model": "m1", "usage": usage})(request)


@pytest.fixture(scope="session")
def node() -> str:
    """The program, when the clients that package-lock.json pins are there."""
    program = shutil.which("node") or missing("node")
    shutil.which("npm") or missing("npm")
    subprocess.run([INSTALL], check=True, timeout=2 * WAIT_SECONDS)
    return program


@pytest.fixture
def told(
    node: str, served: Served, table: Callable[..., None], upstreams: Callable[..., FakeUpstream]
) -> dict[str, Any]:
    """What the program prints."""
    upstream = upstreams("m1", "slow", "cut", *(f"m{status}" for status in CLASSES))
    upstream.answer("/v1/chat/completions", chat)
    upstream.answer("/v1/embeddings", embeddings)
    table(target_for(upstream, type="openai-compatible"))
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        [node, PROGRAM, f"{served.url}/v1", *CLASSES],
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_SECONDS,
        env=kept,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_it_gets_its_answers_and_raises_its_own_errors(told: dict[str, Any]) -> None:
    errors = told.pop("errors")

    assert told == {
        "chat": "MLX is fast.",
        "usage": 8,
        "requestId": True,
        "stream": "MLX is fast.",
        "responses": "MLX is fast.",
        "models": True,
        "model": "openai-compatible",
        "vectors": [3, 3],
    }
    for status, name in CLASSES.items():
        assert (errors[status]["class"], errors[status]["status"]) == (name, int(status))
        assert errors[status]["known"]
    assert (errors["nobodys"]["class"], errors["nobodys"]["code"]) == ("NotFoundError", "model_not_found")
    assert (errors["keyless"]["class"], errors["keyless"]["code"]) == (
        "AuthenticationError",
        "invalid_api_key",
    )
    assert (errors["cut"]["class"], errors["cut"]["code"]) == ("APIError", "upstream_disconnected")
    assert errors["slow"]["class"] == "APIConnectionTimeoutError"
    assert errors["nowhere"]["class"] == "APIConnectionError"
