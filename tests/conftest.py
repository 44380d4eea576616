"""Fixtures that every room's tests share."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from django.utils import translation

from endpoints.routing import snapshot
from tests import services

if TYPE_CHECKING:
    from collections.abc import Iterator

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

TESTS = Path(__file__).parent
SEEDS = 50
# Files stay whole on one worker. The longest begin first, or one worker would be left alone with the last.
LONGEST_FIRST = ("e2e/", "inference/local/", "browser/", "inference/test_serve_model", "inference/", "bench/")


def pytest_addoption(parser: pytest.Parser) -> None:
    told = f"how many seeds the simulations draw schedules from (default: {SEEDS})"
    parser.addoption("--seeds", type=int, default=SEEDS, help=told)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "schedule_seed" in metafunc.fixturenames:
        metafunc.parametrize("schedule_seed", range(metafunc.config.getoption("--seeds")))


def begins_in(path: Path) -> int:
    """The place of a test's room among those that have to begin first."""
    room = path.relative_to(TESTS).as_posix()
    return next(
        (place for place, name in enumerate(LONGEST_FIRST) if room.startswith(name)), len(LONGEST_FIRST)
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """After everyone else's order, and within it: each room's tests stay in their random one."""
    items.sort(key=lambda item: begins_in(item.path))


@pytest.fixture(autouse=True)
def no_routing_table() -> None:
    """A process has none when it starts, whichever tests came before in this one."""
    snapshot.install(snapshot.Snapshot(revision=-1, targets=()))


@pytest.fixture(autouse=True)
def no_language() -> None:
    """Nor a language: Django leaves a thread with that of the last page it served."""
    translation.deactivate()


@pytest.fixture
def socket_path() -> Iterator[Path]:
    """Where a server may listen: short enough for every system, unlike what is below `tmp_path`."""
    with tempfile.TemporaryDirectory(prefix="olla-", dir="/tmp") as folder:
        yield Path(folder) / "s.sock"


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    with services.redis_server() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with services.postgres_server() as url:
        yield url
