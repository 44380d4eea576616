"""The supervisor with real processes: what is wanted comes about, and outlasts whoever dies."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest
from django.conf import settings

from endpoints.choices import Mode, Status
from endpoints.models import Endpoint
from endpoints.routing import sleep
from inference.local import wishes
from inference.local.choices import Kind, State, Wanted
from inference.local.held import held_bytes
from inference.models import LocalModel, LocalModelEvent
from tests.e2e.gateway import alive
from tests.inference.local.conftest import Driven, post, status_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from tests.inference.local.conftest import MakeModel
    from tests.inference.local.hub import Hub

pytestmark = [pytest.mark.model]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as threads:
        yield threads


def test_the_life_of_a_model(supervisor: Driven, make_model: MakeModel, tiny_folder: Path) -> None:
    model = make_model(
        aliases=["small"],
        context_limit=256,
        draft_source=str(tiny_folder),
        disk_cache_megabytes=5,
        chat_template_options={"enable_thinking": False},
    )
    ready = supervisor.until_state(model, State.READY)
    endpoint = Endpoint.objects.select_related("health").get()

    assert (endpoint.name, endpoint.mode, endpoint.pk) == ("tiny", Mode.ACTIVE, ready.endpoint_id)
    assert endpoint.url == f"http://127.0.0.1:{ready.port}"
    assert endpoint.credential() not in ("", ready.encrypted_key)
    assert ready.load_seconds
    listed = httpx.get(
        f"{endpoint.url}/v1/models", headers={"authorization": f"Bearer {endpoint.credential()}"}
    )
    assert listed.json()["data"][0]["max_model_len"] == 256
    assert (supervisor.home / "prompts" / f"model-{model.pk}").is_dir()
    assert psutil.pid_exists(ready.pid or 0)

    wishes.unload(model)
    asleep = supervisor.until_state(model, State.UNLOADED)
    endpoint.health.refresh_from_db()
    assert endpoint.health.status == Status.ASLEEP
    assert asleep.pid is None
    assert not alive(ready.pid or 0)

    sleep.ask(endpoint.pk)
    again = supervisor.until_state(model, State.READY)
    assert again.port == ready.port

    wishes.stop(model)
    supervisor.until_state(model, State.STOPPED)
    endpoint.refresh_from_db()
    assert (endpoint.mode, supervisor.pids()) == (Mode.PAUSED, [])
    told = LocalModelEvent.objects.filter(model=model).order_by("id").values_list("new_state", flat=True)
    assert [state for state in told if state not in ("downloading", "verifying")] == [
        *("loading", "ready", "stopping", "unloaded", "loading", "ready", "stopping", "stopped")
    ]

    model.delete()
    supervisor.until(lambda: not Endpoint.objects.exists())


def test_a_killed_model_is_back_and_a_new_supervisor_keeps_it_and_ends_what_is_nobody_s(
    supervisor: Driven, make_model: MakeModel
) -> None:
    model, other = make_model(), make_model("other")
    first = supervisor.until_state(model, State.READY)
    stray = supervisor.until_state(other, State.READY)

    os.kill(first.pid or 0, signal.SIGKILL)
    failed = supervisor.until_state(model, State.FAILED)
    assert failed.reason == "It was killed by SIGKILL. It is tried again in 0.5 s."
    supervisor.until(lambda: status_of(model).state == State.READY)
    second = status_of(model)
    assert second.pid != first.pid

    other.delete()
    successor = Driven()  # the first one says nothing any more, as if it had been killed
    successor.until(lambda: not alive(stray.pid or 0))
    assert successor.pids() == [second.pid]
    assert status_of(model).state == State.READY
    successor.end()
    assert not alive(second.pid or 0)
    assert status_of(model).state == State.STOPPED
    assert LocalModel.objects.get().wanted == Wanted.RUNNING


def begin_to_read(name: str, pool: ThreadPoolExecutor) -> Future[str]:
    """Ask for a long answer, and read it to its end meanwhile."""
    body = {"prompt": "On", "max_tokens": 900, "ignore_eos": True, "stream": True}
    return pool.submit(post, name, body)


def test_a_new_revision_is_loaded_beside_the_old_one_which_then_leaves(
    supervisor: Driven, make_model: MakeModel, hub: Hub, pool: ThreadPoolExecutor
) -> None:
    model = make_model(source="house/tiny")
    first = supervisor.until_state(model, State.READY)
    endpoint = Endpoint.objects.get()

    hub.commit = "d" * 40
    wishes.update(model)
    supervisor.until(lambda: len(supervisor.pids()) > 1)
    assert status_of(model).state == State.READY
    told = begin_to_read(model.name, pool)
    supervisor.until(lambda: status_of(model).pid != first.pid)
    assert alive(first.pid or 0)
    second = status_of(model)
    assert (second.state, second.running_commit, second.commit) == (State.READY, hub.commit, hub.commit)
    endpoint.refresh_from_db()
    assert endpoint.url == f"http://127.0.0.1:{second.port}"
    supervisor.until(lambda: supervisor.pids() == [second.pid])
    assert not alive(first.pid or 0)
    assert told.result(0).endswith("data: [DONE]\n\n")

    hub.commit, hub.folder = "e" * 40, shutil.copytree(hub.folder, supervisor.home / "worse")
    (hub.folder / "tokenizer.json").unlink()
    wishes.update(model)
    supervisor.until(lambda: "was not updated" in status_of(model).reason)
    assert (status_of(model).state, supervisor.pids()) == (State.READY, [second.pid])


def test_a_restart_loads_one_server_and_no_second_one(supervisor: Driven, make_model: MakeModel) -> None:
    """On Linux a process seems to have begun up to a second early: before it was asked for."""
    model = make_model()
    first = supervisor.until_state(model, State.READY)
    seen = set(supervisor.pids())

    def has_left() -> bool:
        seen.update(supervisor.pids())
        return first.pid not in supervisor.pids()

    wishes.restart(model)
    supervisor.until(has_left)
    second = status_of(model)

    assert (second.state, second.reason, second.pid) == (State.READY, "", *(seen - {first.pid}))


def test_where_memory_is_short_requests_wait_while_one_server_follows_the_other(
    supervisor: Driven, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor
) -> None:
    model = make_model(memory_megabytes=400)
    first = supervisor.until_state(model, State.READY)
    endpoint = Endpoint.objects.select_related("health").get()
    told = begin_to_read(model.name, pool)
    used = held_bytes(psutil.Process(first.pid))
    monkeypatch.setattr(settings, "OLLA_MODEL_MEMORY", used + 300 * 1024**2)

    wishes.restart(model)
    supervisor.until(lambda: status_of(model).state == State.STOPPING)
    endpoint.health.refresh_from_db()
    assert (endpoint.health.status, endpoint.health.wake_asked_at is None) == (Status.ASLEEP, False)
    second = supervisor.until_state(model, State.READY)

    assert second.pid != first.pid
    assert told.result(0).endswith("data: [DONE]\n\n")

    monkeypatch.setattr(settings, "OLLA_MODEL_MEMORY", 300 * 1024**2)
    wishes.unload(model)
    supervisor.until_state(model, State.UNLOADED)
    sleep.ask(endpoint.pk)
    failed = supervisor.until_state(model, State.FAILED)
    endpoint.health.refresh_from_db()
    assert endpoint.health.reason == "needs 419 MB of memory, and 315 MB are free"
    assert endpoint.health.next_check_at == failed.retry_at
    monkeypatch.setattr(settings, "OLLA_MODEL_MEMORY", 0)
    wishes.start(model)
    supervisor.until(lambda: status_of(model).state == State.LOADING)
    endpoint.health.refresh_from_db()
    assert endpoint.health.reason == ""


def test_failures_are_sentences_and_a_click_mends_them(
    supervisor: Driven, make_model: MakeModel, tiny_folder: Path, tmp_path: Path
) -> None:
    broken, blank = (shutil.copytree(tiny_folder, tmp_path / name) for name in ("broken", "blank"))
    weights = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(weights[:-1])
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (blank / name).unlink()
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        port = somebody.getsockname()[1]
        models = {
            "is damaged: it has": make_model("corrupt", source=str(broken)),
            "has no tokenizer": make_model("mute", source=str(blank)),
            f"Port {port} is taken by another program": make_model("late", port=port),
            "Folder x": make_model("none", source=str(tmp_path / "none")),
            "too large": make_model("odd", memory_megabytes=10**8),
        }
        for model in models.values():
            supervisor.until_state(model, State.FAILED)
    said = {name: status_of(model).reason for name, model in models.items()}
    assert "There is no folder" in said.pop("Folder x")
    assert said.pop("too large").startswith("It needs 104857.6 GB of memory, and ")
    for sentence, reason in said.items():
        assert sentence in reason

    (broken / "model.safetensors").write_bytes(weights)
    mended = models["is damaged: it has"]
    for model in models.values():
        wishes.stop(model)
    wishes.start(mended)
    supervisor.until_state(mended, State.READY)
    assert status_of(mended).failures == 0


def test_the_least_used_unpinned_model_makes_room(
    supervisor: Driven, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned, idle = make_model("pinned", pinned=True), make_model("idle")
    for model in (pinned, idle):
        supervisor.until_state(model, State.READY)
    supervisor.until(lambda: status_of(idle).memory_bytes and status_of(pinned).memory_bytes)
    used = sum(status_of(model).memory_bytes or 0 for model in (pinned, idle))
    monkeypatch.setattr(settings, "OLLA_MODEL_MEMORY", used + 10 * 1024**2)
    monkeypatch.setattr(settings, "OLLA_MAKE_ROOM", True)

    newcomer = make_model("newcomer", memory_megabytes=100)
    supervisor.until_state(newcomer, State.READY)

    assert status_of(idle).state == State.UNLOADED
    assert status_of(pinned).state == State.READY


def test_an_embedding_model_alone_is_served(supervisor: Driven, make_model: MakeModel) -> None:
    model = make_model("minilm", source="demo", kind=Kind.EMBEDDING, keep_alive_seconds=1)

    supervisor.until_state(model, State.READY)

    supervisor.until_state(model, State.UNLOADED)  # nobody used it
