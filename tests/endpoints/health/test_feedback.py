"""From a failed request to the checks and back, with real checks and a real database."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from endpoints import tasks
from endpoints.choices import Status
from endpoints.health import feedback, prober, schedule
from endpoints.models import Endpoint, EndpointHealth
from endpoints.routing.snapshot import Snapshot, install, snapshot
from ollaproject.wire import clock
from tests.endpoints.health.test_prober import becomes, eventually
from tests.fakes.upstream import FakeUpstream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.endpoints.conftest import MakeEndpoint

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("checks", "watching")]


@pytest.fixture(autouse=True)
def no_doubts() -> Iterator[None]:
    yield
    feedback.stop()
    feedback.doubts.publish(Snapshot(revision=-1, targets=()))
    install(Snapshot(revision=-1, targets=()))


@pytest.fixture
def sibling() -> Iterator[FakeUpstream]:
    with FakeUpstream(models=("m1",)) as running:
        yield running


@pytest.fixture
def fleet(
    make_endpoint: MakeEndpoint, upstream: FakeUpstream, sibling: FakeUpstream
) -> tuple[Endpoint, Endpoint]:
    """Two endpoints that serve the same, both well, and not due to be checked for an hour."""
    pair = tuple(make_endpoint(url=each.url, check_interval_seconds=3600) for each in (upstream, sibling))
    tasks.check_due()
    eventually(lambda: routable() == [each.pk for each in pair], "the fleet is not well")
    return pair[0], pair[1]


def routable() -> list[int]:
    return [target.id for target in snapshot().targets if target.routable and target.models]


def work_off() -> None:
    """What the worker does with the check that was asked for: the broker of the tests delivers nothing."""
    soon = clock.now() + timedelta(minutes=1)
    due = EndpointHealth.objects.filter(next_check_at__lt=soon)
    eventually(due.exists, "no check was asked for")
    tasks.check_due()


def test_a_refused_connection_takes_a_dead_endpoint_out_of_every_process(
    fleet: tuple[Endpoint, Endpoint], upstream: FakeUpstream
) -> None:
    first, second = fleet
    upstream.stop()
    feedback.doubts.failed(first.pk, "connection refused", broken=True)
    assert routable() == [second.pk]
    work_off()
    becomes(first, Status.OFFLINE)


def test_one_that_is_well_after_all_comes_back_with_the_check(fleet: tuple[Endpoint, Endpoint]) -> None:
    first, second = fleet
    feedback.doubts.failed(first.pk, "it reset the connection", broken=True)
    assert routable() == [second.pk]
    work_off()
    eventually(lambda: routable() == [first.pk, second.pk], "it did not come back")
    eventually(lambda: not feedback.doubts.suspected(), "a suspicion is left")


def test_what_nobody_asked_for_does_not_reset_the_pace_of_the_checks(
    fleet: tuple[Endpoint, Endpoint],
) -> None:
    first, _ = fleet
    before = EndpointHealth.objects.get(pk=first.pk).asked_at
    feedback.doubts.failed(first.pk, "it reset the connection", broken=True)
    work_off()
    eventually(lambda: not feedback.doubts.suspected(), "a suspicion is left")
    assert EndpointHealth.objects.get(pk=first.pk).asked_at == before


def test_the_thread_ends_when_it_is_told_to(fleet: tuple[Endpoint, Endpoint]) -> None:
    first, _ = fleet
    feedback.doubts.failed(first.pk, "connection refused", broken=True)
    feedback.stop()
    prober.stop()
    assert schedule.claim_due(clock.now(), only=[first.pk]), "the check that was asked for is lost"
