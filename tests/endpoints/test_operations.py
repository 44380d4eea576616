"""What operators do with endpoints."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from celery.signals import after_task_publish

from endpoints import operations
from endpoints.choices import Mode, Status
from endpoints.health import health
from endpoints.health.findings import Finding, ProbeResult
from endpoints.models import Endpoint, EndpointHealth, HealthCheck, Revision, Transition
from endpoints.past import retention
from ollaproject.wire import clock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

    from tests.endpoints.conftest import MakeEndpoint


def brought_up(endpoint: Endpoint) -> Endpoint:
    health.record(endpoint=endpoint, finding=Finding(ProbeResult(Status.HEALTHY)), at=clock.now())
    return endpoint


def test_pausing_forgets_what_was_known(make_endpoint: MakeEndpoint) -> None:
    endpoint = brought_up(make_endpoint())
    operations.pause(endpoint=endpoint)
    row = EndpointHealth.objects.select_related("endpoint").get()
    assert (row.endpoint.mode, row.status, row.reason) == (
        Mode.PAUSED,
        Status.UNKNOWN,
        "paused by an operator",
    )


def test_after_a_pause_it_waits_for_a_check_and_is_due_at_once(make_endpoint: MakeEndpoint) -> None:
    endpoint = brought_up(make_endpoint())
    operations.pause(endpoint=endpoint)
    EndpointHealth.objects.update(next_check_at=clock.now() + timedelta(hours=1))
    operations.activate(endpoint=endpoint)
    row = EndpointHealth.objects.get()
    assert row.status == Status.UNKNOWN
    assert row.reason == "waiting for its first check"
    assert row.next_check_at <= clock.now()


def test_draining_keeps_its_status(make_endpoint: MakeEndpoint) -> None:
    endpoint = brought_up(make_endpoint())
    operations.drain(endpoint=endpoint)
    row = EndpointHealth.objects.select_related("endpoint").get()
    assert (row.endpoint.mode, row.status) == (Mode.DRAINING, Status.HEALTHY)


@pytest.fixture
def published() -> Iterator[list[str]]:
    """The tasks that this process has handed to the broker, whichever it is."""
    names: list[str] = []

    def note(sender: str, **_: object) -> None:
        names.append(sender)

    after_task_publish.connect(note)
    yield names
    after_task_publish.disconnect(note)


@pytest.mark.parametrize("operate", [operations.activate, operations.drain, operations.pause])
def test_each_moves_the_routing_table(make_endpoint: MakeEndpoint, operate: object) -> None:
    endpoint = make_endpoint()
    before = Revision.objects.get().routing
    assert callable(operate)
    operate(endpoint=endpoint)
    assert Revision.objects.get().routing > before


def test_a_stale_form_is_not_undone_by_a_pause(make_endpoint: MakeEndpoint) -> None:
    stale = make_endpoint()
    Endpoint.objects.update(priority=7)
    operations.pause(endpoint=stale)
    assert Endpoint.objects.get().priority == 7


def test_check_now_is_sent_when_the_transaction_is_committed(
    make_endpoint: MakeEndpoint,
    published: list[str],
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    endpoint = make_endpoint()
    published.clear()
    with django_capture_on_commit_callbacks(execute=True):
        assert operations.check_now([endpoint]) == 1
        assert published == []
    assert published == ["endpoints.check_now"]


def test_check_now_leaves_paused_endpoints_out(make_endpoint: MakeEndpoint) -> None:
    assert operations.check_now([make_endpoint(mode=Mode.PAUSED)]) == 0


# --- History ---


def test_old_checks_are_pruned_and_transitions_kept(
    make_endpoint: MakeEndpoint, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.OLLA_CHECK_HISTORY_HOURS = 24
    monkeypatch.setattr(retention, "BATCH_ROWS", 3)
    endpoint, now = brought_up(make_endpoint()), clock.now()
    HealthCheck.objects.bulk_create(
        HealthCheck(endpoint=endpoint, at=now - timedelta(hours=hours), status=Status.HEALTHY)
        for hours in (23, 25, 26, 27, 28, 29, 30, 31)
    )
    assert retention.prune(now) == 7
    assert HealthCheck.objects.count() == 2
    assert Transition.objects.count() == 1


def test_deleting_an_endpoint_takes_everything_of_it_along(make_endpoint: MakeEndpoint) -> None:
    brought_up(make_endpoint()).delete()
    assert not HealthCheck.objects.exists()
    assert not EndpointHealth.objects.exists()
    assert not Transition.objects.exists()


def test_nobody_waits_for_ever_for_a_redis_that_does_not_answer(tmp_path: Path) -> None:
    """The check is due in the database all the same."""
    program = (
        "import django, ollaproject.celery; django.setup(); from endpoints.tasks import check_now; "
        "check_now.apply_async(([1],), retry=False)"
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment = {
            **os.environ,
            "REDIS_URL": f"redis://127.0.0.1:{silent.getsockname()[1]}/0",
            "OLLA_HOME": str(tmp_path),
            "DJANGO_SETTINGS_MODULE": "ollaproject.settings",
        }
        command = [sys.executable, "-c", program]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    assert "kombu.exceptions.OperationalError" in done.stderr
