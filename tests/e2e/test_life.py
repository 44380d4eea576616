"""What happens to a gateway with a model: processes die, it sleeps, an endpoint is added, all is stopped."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.e2e.conftest import with_servers
from tests.e2e.gateway import CHAT_MODEL, READY_SECONDS, Gateway, alive, eventually
from tests.fakes.upstream import FakeUpstream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.model, pytest.mark.timeout(240)]

# What `serve` gives its own model's endpoint.
LOCAL_INTERVAL_SECONDS = 2
CHAT = {"model": CHAT_MODEL, "messages": [{"role": "user", "content": "Count."}], "max_tokens": 4}
# What the dashboard says then, alone or beside the endpoints that other tests add.
LOCAL_IS_DOWN = "local does not serve|local has been (down|unhealthy) for"
UNLOAD = "from inference.local import wishes; from inference.models import LocalModel; "
UNLOAD += "wishes.unload(LocalModel.objects.get())"
PLACE = """
from inference.local import wishes
from inference.models import LocalModel
model = LocalModel(name="placed", source="demo", kind="embedding", host="mini-2")
model.full_clean()
model.save()
wishes.start(model)
"""
BUSY = 8  # times as long as it takes at most on a machine that does nothing else
BACK_SECONDS = 60  # it takes less than 10 on a quiet machine; here other tests run beside it
LONG_STREAM = {
    "model": CHAT_MODEL,
    "messages": [{"role": "user", "content": "Tell me a very long story."}],
    "max_tokens": 100,
    "temperature": 0,
    "stream": True,
}

embedded = pytest.mark.parametrize("gateway", ["embedded"], indirect=True)


def status_of(client: httpx.Client, name: str) -> str | None:
    endpoints = client.get("/internal/status").json()["endpoints"]
    return next((endpoint["status"] for endpoint in endpoints if endpoint["name"] == name), None)


def wait_for_local_model(client: httpx.Client) -> None:
    eventually(lambda: CHAT_MODEL in client.get("/v1/models").text, within=60)


def endpoint_form(client: httpx.Client, **fields: Any) -> dict[str, str]:
    """The admin's form as a browser would send it: every field with its value, then what the person typed."""
    page = client.get("/admin/endpoints/endpoint/add/").text
    form: dict[str, str] = {}
    for tag in re.findall(r"<input[^>]*>", page):
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        if attributes.get("type") not in ("checkbox", "submit", "radio") and "name" in attributes:
            form[attributes["name"]] = attributes.get("value", "")
    for name, options in re.findall(r'<select name="([^"]+)"[^>]*>(.*?)</select>', page, re.DOTALL):
        chosen = re.search(r'<option value="([^"]*)" selected', options)
        form[name] = chosen[1] if chosen else ""
    return {**form, **fields, "_save": "Save"}


def test_it_follows_the_model_s_death_and_return(gateway: Gateway) -> None:
    with gateway.client() as client, gateway.signed_in() as browser:
        eventually(lambda: status_of(client, "local") == "healthy", within=BACK_SECONDS)

        # With its supervisor held, the model stays dead for as long as anybody looks.
        processes = gateway.processes()
        os.kill(processes["models"], signal.SIGSTOP)
        try:
            os.kill(processes["model"], signal.SIGKILL)
            took = eventually(lambda: status_of(client, "local") != "healthy", within=BACK_SECONDS)
            # Its check is refused, and so is the one that confirms it a second later.
            assert took < BUSY * (LOCAL_INTERVAL_SECONDS + 1 + 1)
            eventually(lambda: client.get("/v1/models").json()["data"] == [], within=BACK_SECONDS)
            refused = client.post("/v1/chat/completions", json=CHAT)
            eventually(lambda: re.search(LOCAL_IS_DOWN, browser.get("/").text), within=BACK_SECONDS)
        finally:
            os.kill(processes["models"], signal.SIGCONT)

        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "model_unavailable"
        assert int(refused.headers["retry-after"]) > 0
        wait_for_local_model(client)
        assert client.post("/v1/chat/completions", json=CHAT).status_code == 200
        assert gateway.processes()["model"] != processes["model"]


@pytest.fixture
def second() -> Iterator[FakeUpstream]:
    with FakeUpstream(models=("second-model",)) as upstream:
        yield upstream


def test_an_endpoint_added_during_a_stream_is_used_at_once_and_disturbs_nothing(
    gateway: Gateway, second: FakeUpstream
) -> None:
    pieces: list[bytes] = []
    first_piece = threading.Event()

    def read_stream() -> None:
        with (
            gateway.client() as client,
            client.stream("POST", "/v1/chat/completions", json=LONG_STREAM) as response,
        ):
            for piece in response.iter_raw():
                pieces.append(piece)
                first_piece.set()

    with gateway.signed_in() as browser, gateway.client() as client:
        wait_for_local_model(client)
        stream = threading.Thread(target=read_stream)
        stream.start()
        assert first_piece.wait(60)

        saved = browser.post(
            "/admin/endpoints/endpoint/add/",
            data=endpoint_form(browser, name="second", url=second.url, type="vllm-mlx"),
            headers={"referer": f"{gateway.url}/admin/endpoints/endpoint/add/"},
        )
        added_at = time.monotonic()
        assert "was added successfully" in saved.text, saved.text

        request = {**CHAT, "model": "second-model"}
        eventually(
            lambda: client.post("/v1/chat/completions", json=request).status_code == 200, within=BACK_SECONDS
        )
        took = time.monotonic() - added_at
        assert stream.is_alive(), "the stream was over before the endpoint was there: it proves nothing"
        stream.join(180)

    assert took < BUSY * 2.5, f"it took {took:.1f} s to be checked and routed to"
    events = b"".join(pieces).decode().split("\n\n")
    assert events[-2] == "data: [DONE]"
    assert json.loads(events[-3].removeprefix("data: "))["choices"][0]["finish_reason"] in ("length", "stop")


@embedded
def test_a_request_for_an_unloaded_model_waits_until_it_is_loaded(gateway: Gateway) -> None:
    with gateway.client() as client, ThreadPoolExecutor() as pool:
        wait_for_local_model(client)
        model = gateway.processes()["model"]
        gateway.manage("shell", "-c", UNLOAD)
        eventually(lambda: not alive(model), within=BACK_SECONDS)
        assert CHAT_MODEL in client.get("/v1/models").text

        asked = [pool.submit(client.post, "/v1/chat/completions", json=CHAT) for _ in range(3)]
        eventually(lambda: "model" in gateway.processes(), within=BACK_SECONDS)
        assert client.get("/v1/models").status_code == 200  # nobody else waits

        assert [answer.result(60).status_code for answer in asked] == [200, 200, 200]


@embedded
def test_whoever_is_killed_comes_back_and_nothing_is_left_behind(gateway: Gateway) -> None:
    with gateway.client() as client:
        wait_for_local_model(client)
        for names in (["web", "worker", "beat"], ["model"], ["models"]):
            before = gateway.processes()
            assert set(before) == {"web", "worker", "beat", "models", "model"}
            for name in names:
                os.kill(before[name], signal.SIGKILL)

            def is_back(before: dict[str, int] = before, names: list[str] = names) -> bool:
                now = gateway.processes()
                renewed = all(now.get(name, before[name]) != before[name] for name in names)
                return renewed and client.post("/v1/chat/completions", json=CHAT).status_code == 200

            eventually(is_back, within=BACK_SECONDS, what=lambda: gateway.output)
            assert [name for name, pid in before.items() if alive(pid)] == [
                n for n in before if n not in names
            ]


@pytest.mark.parametrize("gateway", [with_servers], indirect=True)
def test_a_further_machine_runs_what_is_placed_there(gateway: Gateway, tmp_path: Path) -> None:
    shutil.copytree(gateway.home / "secrets", tmp_path / "secrets")
    there = gateway.begin("serve_models", "--host-name", "mini-2", OLLA_HOME=str(tmp_path))
    gateway.manage("shell", "-c", PLACE)
    with gateway.client() as client:
        question = {"model": "placed", "input": "where am I"}
        eventually(lambda: client.post("/v1/embeddings", json=question).status_code == 200, within=60)
        (found,) = tmp_path.glob("run/model-*.json")
        model = json.loads(found.read_text())["pid"]

        there.terminate()
        assert there.wait(READY_SECONDS) == 0
        assert not alive(model)
        eventually(lambda: "placed" not in client.get("/v1/models").text, within=BACK_SECONDS)
        assert client.post("/v1/chat/completions", json=CHAT).status_code == 200


def test_ctrl_c_in_the_middle_of_a_stream_leaves_nothing_behind() -> None:
    with Gateway() as gateway:
        gateway.wait_until_ready()
        processes = gateway.processes()
        assert set(processes) == {"web", "worker", "beat", "models", "model"}

        with (
            gateway.client() as client,
            client.stream("POST", "/v1/chat/completions", json=LONG_STREAM) as response,
        ):
            pieces = response.iter_raw()
            next(pieces)
            started = time.monotonic()
            assert gateway.stop() == 0
            took = time.monotonic() - started
            with pytest.raises(httpx.RemoteProtocolError):
                b"".join(pieces)

    assert took < BUSY * 10
    assert [name for name, pid in processes.items() if alive(pid)] == []
    assert "Traceback" not in gateway.output
    assert "Stopped." in gateway.output
    shutil.rmtree(gateway.home)
