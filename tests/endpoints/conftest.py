"""What the fleet's tests share: endpoints by one call, a fake upstream, threads that end with the test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from endpoints.health import prober
from endpoints.models import Endpoint
from endpoints.routing import watch
from tests.endpoints.importing import Importer
from tests.fakes.upstream import FakeUpstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    MakeEndpoint = Callable[..., Endpoint]


@pytest.fixture
def make_endpoint(db: None) -> MakeEndpoint:
    """Makes and saves an endpoint; its name is numbered unless it is given."""
    made: list[Endpoint] = []

    def make(*, credential: str = "", **fields: Any) -> Endpoint:
        fields = {"name": f"mini-{len(made) + 1}", "url": "http://127.0.0.1:9", **fields}
        endpoint = Endpoint(**fields)
        endpoint.set_credential(credential)
        endpoint.full_clean()
        endpoint.save()
        made.append(endpoint)
        return endpoint

    return make


@pytest.fixture
def importer(tmp_path: Path) -> Importer:
    return Importer(tmp_path)


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(models=("m1",)) as running:
        yield running


@pytest.fixture
def checks() -> Iterator[None]:
    """The checks of this process end with the test."""
    yield
    prober.stop()


@pytest.fixture
def watching(transactional_db: None) -> Iterator[None]:
    """This process watches the database, and stops with the test."""
    watch.start()
    assert watch.wait_ready(10)
    yield
    watch.stop()
