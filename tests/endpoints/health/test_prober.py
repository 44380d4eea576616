"""The checks as a worker makes them: real tasks, real threads, real upstreams."""

from __future__ import annotations

import itertools
import threading
import time
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.db import connection

from endpoints import operations, tasks
from endpoints.choices import Status
from endpoints.health import prober, schedule
from endpoints.models import Endpoint, EndpointHealth, HealthCheck
from ollaproject.wire import clock
from tests.fakes import answers
from tests.fakes.upstream import FakeUpstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.endpoints.conftest import MakeEndpoint
    from tests.fakes.answers import SeenRequest, Step

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("checks")]

WITHIN_SECONDS = 30.0
POLL_SECONDS = 0.02


def eventually(holds: Callable[[], bool], what: str) -> None:
    """Wait until `holds`: another thread writes the row that it reads."""
    deadline = time.monotonic() + WITHIN_SECONDS
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(POLL_SECONDS)


def status_of(endpoint: Endpoint) -> str:
    return EndpointHealth.objects.get(pk=endpoint.pk).status


def becomes(endpoint: Endpoint, status: Status) -> None:
    eventually(lambda: status_of(endpoint) == status, f"{endpoint} did not become {status}")


def found_well(endpoint: Endpoint) -> Endpoint:
    """The same, checked and found healthy."""
    tasks.check_due()
    becomes(endpoint, Status.HEALTHY)
    return endpoint


def check_now(endpoint: Endpoint) -> None:
    schedule.bring_forward([endpoint.pk])
    tasks.check_due()


def test_a_tick_checks_a_new_endpoint_and_finds_its_models(
    make_endpoint: MakeEndpoint, upstream: FakeUpstream
) -> None:
    endpoint = found_well(make_endpoint(url=upstream.url))
    assert list(endpoint.models.values_list("name", flat=True)) == ["m1"]


def test_an_endpoint_that_dies_and_comes_back_is_followed(
    make_endpoint: MakeEndpoint, upstream: FakeUpstream
) -> None:
    endpoint = found_well(make_endpoint(url=upstream.url))
    upstream.stop()
    check_now(endpoint)
    becomes(endpoint, Status.OFFLINE)
    assert EndpointHealth.objects.get().reason == "connection refused"
    upstream.start()
    check_now(endpoint)
    becomes(endpoint, Status.HEALTHY)


def test_a_dead_endpoint_is_down_soon_after_the_first_check_that_fails(
    make_endpoint: MakeEndpoint, upstream: FakeUpstream
) -> None:
    endpoint = found_well(make_endpoint(url=upstream.url, check_interval_seconds=60))
    upstream.stop()
    check_now(endpoint)
    becomes(endpoint, Status.OFFLINE)
    flipped, failed = HealthCheck.objects.values_list("at", flat=True)[:2]
    assert 0.2 < (flipped - failed).total_seconds() < 5  # the next check would come after 60
    assert EndpointHealth.objects.get().since == flipped


def test_one_answer_that_fails_takes_nothing_down(
    make_endpoint: MakeEndpoint, upstream: FakeUpstream
) -> None:
    endpoint = found_well(make_endpoint(url=upstream.url, check_interval_seconds=60))
    broken, well = answers.respond({}, status=500), answers.respond({})
    moods = iter([broken, well])

    def answer(request: SeenRequest) -> Iterable[Step]:
        return next(moods)(request)

    upstream.answer("/health", answer)
    check_now(endpoint)
    eventually(lambda: HealthCheck.objects.count() == 3, "the failure was not asked about again")
    found = HealthCheck.objects.order_by("at").values_list("status", flat=True)
    assert list(found) == [Status.HEALTHY, Status.UNHEALTHY, Status.HEALTHY]
    assert status_of(endpoint) == Status.HEALTHY


def test_one_second_means_one_second(make_endpoint: MakeEndpoint, upstream: FakeUpstream) -> None:
    make_endpoint(url=upstream.url, check_interval_seconds=1, check_timeout_seconds=0.9)
    stopping = threading.Event()

    def tick() -> None:  # as unevenly as beat does under load
        for pause in (0.9, 1.1, 0.8, 1.2):
            tasks.check_due()
            stopping.wait(pause)
        connection.close()

    ticking = threading.Thread(target=tick)
    ticking.start()
    upstream.wait_for(lambda seen: len(seen.requests_for("/health")) >= 4)
    stopping.set()
    ticking.join()
    first, *moments = [request.at for request in upstream.requests_for("/health")]
    plans = [first, *moments]
    assert min(later - earlier for earlier, later in itertools.pairwise(plans)) > 0.5  # never twice in one
    assert plans[-1] - first < 3 + 1.5  # none was left out; each may be late on a busy machine


def test_a_hanging_endpoint_delays_no_other(make_endpoint: MakeEndpoint, upstream: FakeUpstream) -> None:
    with ExitStack() as stack:
        for _ in range(10):
            hanging = stack.enter_context(FakeUpstream())
            hanging.answer("/health", answers.raw(answers.HANG))
            make_endpoint(url=hanging.url, check_interval_seconds=60, check_timeout_seconds=30)
        endpoint = make_endpoint(url=upstream.url)
        tasks.check_due()
        becomes(endpoint, Status.HEALTHY)
        assert HealthCheck.objects.count() == 1
        prober.stop()  # before the hanging ones go


def test_stopping_does_not_wait_for_hanging_endpoints(
    make_endpoint: MakeEndpoint, upstream: FakeUpstream
) -> None:
    upstream.answer("/health", answers.raw(answers.HANG))
    make_endpoint(url=upstream.url, check_interval_seconds=60, check_timeout_seconds=30)
    tasks.check_due()
    upstream.wait_for_requests(1)
    started = time.monotonic()
    prober.stop()
    assert time.monotonic() - started < 15  # they would hang for 30
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {"fleet-prober", "fleet-health-writer"}


def test_it_starts_again_after_it_was_stopped(make_endpoint: MakeEndpoint, upstream: FakeUpstream) -> None:
    endpoint = found_well(make_endpoint(url=upstream.url))
    prober.stop()
    upstream.stop()
    check_now(endpoint)
    becomes(endpoint, Status.OFFLINE)


def test_a_credential_that_cannot_be_read_is_a_configuration_error(
    make_endpoint: MakeEndpoint, upstream: FakeUpstream
) -> None:
    endpoint = make_endpoint(url=upstream.url, auth_kind="bearer", credential="tok-3c1d")
    Endpoint.objects.update(encrypted_credential="nonsense")
    tasks.check_due()
    becomes(endpoint, Status.CONFIG_ERROR)
    assert "cannot be decrypted" in EndpointHealth.objects.get().reason
    assert upstream.requests == []


def test_a_list_that_cannot_be_read_leaves_the_old_models_and_says_so(
    make_endpoint: MakeEndpoint, upstream: FakeUpstream
) -> None:
    endpoint = found_well(make_endpoint(url=upstream.url))
    upstream.answer("/v1/models", answers.respond({}, status=500))
    endpoint.save()
    tasks.check_due()
    eventually(
        lambda: EndpointHealth.objects.get().reason.startswith(
            "its list of models cannot be read: it answered 500"
        ),
        "the reason was not shown",
    )
    assert status_of(endpoint) == Status.HEALTHY
    assert list(endpoint.models.values_list("name", flat=True)) == ["m1"]


def test_check_now_and_a_tick_together_check_once(
    make_endpoint: MakeEndpoint, upstream: FakeUpstream
) -> None:
    endpoint = make_endpoint(url=upstream.url)
    tasks.check_now([endpoint.pk])
    tasks.check_due()
    becomes(endpoint, Status.HEALTHY)
    prober.stop()
    assert HealthCheck.objects.count() == 1


def test_a_paused_endpoint_is_left_alone(make_endpoint: MakeEndpoint, upstream: FakeUpstream) -> None:
    endpoint = make_endpoint(url=upstream.url)
    operations.pause(endpoint=endpoint)
    EndpointHealth.objects.update(next_check_at=clock.now() - timedelta(hours=1))
    tasks.check_due()
    tasks.check_now([endpoint.pk])
    prober.stop()
    assert upstream.requests == []
