"""A supervisor that the test drives by hand, with real model processes, a real database and a real fleet."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from django.conf import settings

from endpoints.models import Endpoint
from inference.local import wishes
from inference.local.site import Site
from inference.local.supervisor import Supervisor
from inference.models import LocalModel, LocalModelStatus
from ollaproject.local_fleet import LocalFleet
from tests.inference.local.hub import Hub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_django import Settings

    from inference.local.choices import State

    MakeModel = Callable[..., LocalModel]

PATIENCE_SECONDS = 90.0


class Driven(Supervisor):
    """Looks when it is told to."""

    def __init__(self) -> None:
        super().__init__(Site("here"), LocalFleet())
        self._begin()
        self.home = settings.OLLA_HOME

    def until(self, true: Callable[[], object]) -> float:
        """Look until something is so. Returns how many seconds it took."""
        began = time.monotonic()
        while True:
            self._look_at_all()
            if true():
                return time.monotonic() - began
            assert time.monotonic() - began < PATIENCE_SECONDS, list(LocalModelStatus.objects.values())
            time.sleep(0.05)  # other processes are at work

    def until_state(self, model: LocalModel, state: State) -> LocalModelStatus:
        self.until(lambda: status_of(model).state == state)
        return status_of(model)

    def pids(self) -> list[int]:
        return [each.process.pid for keeper in self._keepers.values() for each in keeper.servers()]

    def end(self) -> None:
        self._end()


def ask(name: str, body: dict[str, Any]) -> str:
    """What the model of this name says."""
    text: str = json.loads(post(name, body))["choices"][0]["text"]
    return text.strip()


def post(name: str, body: dict[str, Any]) -> str:
    """The whole answer of the server that has this model now."""
    endpoint = Endpoint.objects.get(name=name.rpartition("/")[2])
    key = {"authorization": f"Bearer {endpoint.credential()}"}
    url = f"{endpoint.url}/v1/completions"
    return httpx.post(url, json={**body, "model": name}, headers=key, timeout=60).raise_for_status().text


def status_of(model: LocalModel) -> LocalModelStatus:
    return LocalModelStatus.objects.select_related("model").get(pk=model.pk)


@pytest.fixture
def supervisor(transactional_db: None, settings: Settings, tmp_path: Path) -> Iterator[Driven]:
    settings.OLLA_HOME = tmp_path
    made = Driven()
    with made._lock():
        yield made
        made.end()


@pytest.fixture
def hub(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on loopback, which fetches ask."""
    with Hub(tiny_folder) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
        yield server


@pytest.fixture
def make_model(transactional_db: None, tiny_folder: Path) -> MakeModel:
    """Makes a local model of the tiny folder, and wishes that it runs."""

    def make(name: str = "tiny", **fields: Any) -> LocalModel:
        model = LocalModel(name=name, **{"source": str(tiny_folder), **fields})
        model.full_clean()
        model.save()
        wishes.start(model)
        return model

    return make
