from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.e2e.gateway import Gateway
from tests.services import postgres_server, redis_server

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator


with_servers = pytest.param("servers", marks=[pytest.mark.redis, pytest.mark.postgres])


@pytest.fixture(scope="module", params=["embedded", with_servers])
def gateway(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    """A gateway with the demo models, once on SQLite and the file broker, once on PostgreSQL and Redis."""
    environment: dict[str, str] = {}
    if request.param == "servers":
        database = request.getfixturevalue("own_postgres")
        broker = request.getfixturevalue("own_redis")
        environment = {"DATABASE_URL": database, "REDIS_URL": broker}
    with Gateway(environment=environment) as running:
        running.wait_until_ready()
        yield running
    shutil.rmtree(running.home, ignore_errors=True)


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="module")
def own_redis() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure says what the gateway has printed."""
    report = yield
    running = item.funcargs.get("gateway") if isinstance(item, pytest.Function) else None
    if report.failed and isinstance(running, Gateway):
        report.sections.append(("what the gateway printed", running.output))
    return report
