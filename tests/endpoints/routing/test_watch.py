"""A web process follows the database."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from cryptography.fernet import Fernet
from django.conf import settings as django_settings
from django.db import connection

from endpoints.choices import AuthKind, Mode, Status
from endpoints.health.findings import Finding, FoundModel, ProbeResult
from endpoints.health.health import record
from endpoints.models import Endpoint
from endpoints.routing import routing_table, watch
from endpoints.routing.snapshot import Snapshot, snapshot
from ollaproject.wire import clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_django import DjangoAssertNumQueries, Settings

    from endpoints.routing.watch import Change
    from tests.endpoints.conftest import MakeEndpoint

SEEN_WITHIN_SECONDS = 5.0  # it takes a quarter of one, and a few times as long on a busy machine


class Changes:
    """The changes that a subscriber was told of."""

    def __init__(self) -> None:
        self.told: queue.SimpleQueue[Change] = queue.SimpleQueue()
        self.unsubscribe = watch.subscribe(self.told.put)

    def wait_for(self, holds: Callable[[Snapshot], bool], *, seconds: float = SEEN_WITHIN_SECONDS) -> float:
        """How long it took until the routing table was as wanted."""
        started = time.monotonic()
        while not holds(snapshot()):
            self.told.get(timeout=seconds)
        return time.monotonic() - started


@pytest.fixture
def changes(watching: None) -> Changes:
    return Changes()


def statuses(table: Snapshot) -> list[Status]:
    return [target.status for target in table.targets]


# --- The table ---


def test_the_defaults_of_the_profile_are_filled_in(make_endpoint: MakeEndpoint) -> None:
    make_endpoint()
    (target,) = routing_table.build(7).targets
    assert (target.priority, target.max_concurrent, target.connect_timeout_seconds) == (85, 20, 2)
    assert (target.first_byte_timeout_seconds, target.idle_timeout_seconds) == (300, 120)


def test_what_the_operator_set_wins(make_endpoint: MakeEndpoint) -> None:
    make_endpoint(priority=0, max_concurrent=3, idle_timeout_seconds=9)
    (target,) = routing_table.build(7).targets
    assert (target.priority, target.max_concurrent, target.idle_timeout_seconds) == (0, 3, 9)


def test_the_highest_priority_comes_first_then_the_name(make_endpoint: MakeEndpoint) -> None:
    make_endpoint(name="b", priority=10)
    make_endpoint(name="c", priority=20)
    make_endpoint(name="a", priority=10)
    assert [target.name for target in routing_table.build(7).targets] == ["c", "a", "b"]


def test_a_healthy_endpoint_with_its_models_is_routable(make_endpoint: MakeEndpoint) -> None:
    finding = Finding(ProbeResult(Status.HEALTHY), models=(FoundModel("m1", 7, 4096), FoundModel("a", 8)))
    record(endpoint=make_endpoint(), finding=finding, at=clock.now())
    (target,) = routing_table.build(7).targets
    assert target.routable
    assert [(model.name, model.created, model.max_model_len) for model in target.models] == [
        ("a", 8, None),
        ("m1", 7, 4096),
    ]


def test_a_credential_that_cannot_be_read_takes_one_endpoint_out_and_no_other(
    make_endpoint: MakeEndpoint, settings: Settings
) -> None:
    settings.OLLA_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    broken = make_endpoint(auth_kind=AuthKind.BEARER, credential="tok-3c1d")
    fine = make_endpoint()
    for endpoint in (broken, fine):
        record(endpoint=endpoint, finding=Finding(ProbeResult(Status.HEALTHY)), at=clock.now())
    settings.OLLA_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    first, second = routing_table.build(7).targets
    assert (first.routable, first.status, first.headers) == (False, Status.CONFIG_ERROR, ())
    assert "mini-1 cannot be decrypted" in first.reason
    assert second.routable


def test_a_type_without_a_profile_is_left_out(make_endpoint: MakeEndpoint) -> None:
    make_endpoint()
    Endpoint.objects.update(type="gone")
    assert routing_table.build(7).targets == ()


def test_no_secret_is_in_the_repr_of_the_table(make_endpoint: MakeEndpoint) -> None:
    make_endpoint(auth_kind=AuthKind.BEARER, credential="tok-3c1d", headers={"X-Rack": "rack-4"})
    table = routing_table.build(7)
    assert ("Authorization", "Bearer tok-3c1d") in table.targets[0].headers
    assert "tok-3c1d" not in repr(table)
    assert "rack-4" not in repr(table)


def test_a_table_of_any_size_costs_two_queries(
    make_endpoint: MakeEndpoint, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(5):
        make_endpoint()
    with django_assert_num_queries(3):
        routing_table.build(7)


# --- The thread ---


def test_a_change_in_this_process_is_seen(changes: Changes, make_endpoint: MakeEndpoint) -> None:
    make_endpoint(name="new")
    changes.wait_for(lambda table: [target.name for target in table.targets] == ["new"])


def test_a_flip_is_seen(changes: Changes, make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint()
    record(endpoint=endpoint, finding=Finding(ProbeResult(Status.HEALTHY)), at=clock.now())
    changes.wait_for(lambda table: statuses(table) == [Status.HEALTHY])


def test_a_deletion_is_seen(changes: Changes, make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint()
    changes.wait_for(lambda table: len(table.targets) == 1)
    endpoint.delete()
    changes.wait_for(lambda table: not table.targets)


def test_a_change_by_another_process_is_seen_within_a_second(
    changes: Changes, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint()
    changes.wait_for(lambda table: len(table.targets) == 1)
    script = (
        "import django; django.setup()\n"
        "from endpoints.models import Endpoint\nfrom endpoints import operations\n"
        "operations.drain(endpoint=Endpoint.objects.get())\n"
        "print('done', flush=True)\n"
        "input()\n"
    )
    environment = {
        **os.environ,
        "DATABASE_URL": database_url(),
        "DJANGO_SETTINGS_MODULE": "ollaproject.settings",
    }
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        cwd=django_settings.BASE_DIR,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
        changes.wait_for(lambda table: table.targets[0].mode == Mode.DRAINING)
        process.communicate("\n")
    assert process.returncode == 0


def database_url() -> str:
    """The test database, as another process would be told of it."""
    config = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{config['NAME']}"
    return f"postgresql://{config['USER']}:{config['PASSWORD']}@{config['HOST']}:{config['PORT']}/{config['NAME']}"


def test_activity_alone_is_told_and_leaves_the_table(changes: Changes, make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint()
    at = clock.now()
    record(endpoint=endpoint, finding=Finding(ProbeResult(Status.HEALTHY)), at=at)
    changes.wait_for(lambda table: statuses(table) == [Status.HEALTHY])
    while not changes.told.empty():
        changes.told.get()
    table = snapshot()
    record(endpoint=endpoint, finding=Finding(ProbeResult(Status.HEALTHY)), at=clock.now())
    change = changes.told.get(timeout=SEEN_WITHIN_SECONDS)
    assert change.routing == table.revision
    assert snapshot() is table


def test_one_who_unsubscribed_is_told_no_more(changes: Changes, make_endpoint: MakeEndpoint) -> None:
    changes.unsubscribe()
    other = Changes()
    make_endpoint()
    other.wait_for(lambda table: len(table.targets) == 1)
    assert changes.told.empty()


def test_a_subscriber_that_fails_harms_no_other(
    watching: None, make_endpoint: MakeEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(change: Change) -> None:
        raise RuntimeError("no")

    unsubscribe = watch.subscribe(fail)
    other = Changes()
    make_endpoint()
    other.wait_for(lambda table: len(table.targets) == 1)
    unsubscribe()
    assert "A subscriber of fleet changes failed" in caplog.text


def test_starting_twice_makes_one_thread(watching: None) -> None:
    watch.start()
    assert [thread.name for thread in threading.enumerate()].count("fleet-watch") == 1


async def test_a_coroutine_can_wait_for_it(watching: None) -> None:
    assert await watch.ready()


@pytest.mark.django_db(transaction=True)
def test_it_outlives_a_database_that_fails(
    changes: Changes, make_endpoint: MakeEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    make_endpoint()
    changes.wait_for(lambda table: len(table.targets) == 1)
    table = snapshot()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE endpoints_revision RENAME TO endpoints_revision_away")
    try:
        wait_for_log(caplog, "The database does not answer")
        assert snapshot() is table
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE endpoints_revision_away RENAME TO endpoints_revision")
    wait_for_log(caplog, "follows the database again")
    make_endpoint()
    changes.wait_for(lambda table: len(table.targets) == 2)
    assert caplog.text.count("The database does not answer") == 1


def wait_for_log(caplog: pytest.LogCaptureFixture, words: str) -> None:
    deadline = time.monotonic() + 30
    while words not in caplog.text:
        assert time.monotonic() < deadline, f"{words!r} was not logged"
        time.sleep(0.02)
