"""Fixtures that every room's tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hypothesis
import pytest

from endpoints import snapshot
from tests import services

if TYPE_CHECKING:
    from collections.abc import Iterator

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")


SEEDS = 50


def pytest_addoption(parser: pytest.Parser) -> None:
    told = f"how many seeds the simulations draw schedules from (default: {SEEDS})"
    parser.addoption("--seeds", type=int, default=SEEDS, help=told)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "schedule_seed" in metafunc.fixturenames:
        metafunc.parametrize("schedule_seed", range(metafunc.config.getoption("--seeds")))


@pytest.fixture(autouse=True)
def no_routing_table() -> None:
    """A process has none when it starts, whichever tests came before in this one."""
    snapshot.install(snapshot.Snapshot(revision=-1, targets=()))


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    with services.redis_server() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with services.postgres_server() as url:
        yield url
