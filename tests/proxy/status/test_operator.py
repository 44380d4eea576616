"""What operators read: liveness, readiness, status with true numbers, version."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest
from django.db import OperationalError, connection

from endpoints.choices import Status
from endpoints.models import Endpoint, EndpointHealth
from ollaproject.wire import clock
from proxy.records.counts import Counts
from proxy.records.shared_counts import Traffic
from proxy.status import conditional, figures
from proxy.status.metrics import render
from proxy.status.status import fleet, system_status
from tests.fakes import answers
from tests.proxy.conftest import CHAT, chat_body, target_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_django import Settings

    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Table = Callable[..., None]

TRAFFIC = Traffic(Counts(), {}, waiting=0, blocked=0, started_at=clock.now(), processes=1)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def stored(upstream: FakeUpstream) -> Endpoint:
    """An endpoint in the database that was checked 2 s ago and found healthy."""
    endpoint = Endpoint.objects.create(name="mini-1", url=upstream.url, type="vllm-mlx")
    moment = clock.now()
    found = {
        "status": Status.HEALTHY,
        "since": moment,
        "checked_at": moment - timedelta(seconds=2.5),
        "next_check_at": moment + timedelta(seconds=9.5),
        "latency_seconds": 0.012,
    }
    EndpointHealth.objects.update_or_create(endpoint=endpoint, defaults=found)
    endpoint.models.create(name="m1", created=1, first_seen_at=moment, last_seen_at=moment)
    return endpoint


@pytest.mark.parametrize("path", ["/internal/health", "/health", "/livez"])
def test_it_is_alive_whatever_its_endpoints_do(client: httpx.Client, table: Table, path: str) -> None:
    table()

    answer = client.get(path)

    assert (answer.status_code, answer.json()) == (200, {"status": "healthy"})


def test_the_address_of_olla_s_dashboard_leads_to_ours(client: httpx.Client, table: Table) -> None:
    table()

    answer = client.get("/internal/ui/")

    assert (answer.status_code, answer.headers["location"]) == (302, "/")


def longest_wait(client: httpx.Client, other: httpx.Client, path: str) -> float:
    """For /livez while `other` gets what is at `path`: as a share of the time that this takes."""
    with ThreadPoolExecutor(1) as thread:
        began = time.monotonic()
        slow = thread.submit(other.get, path)
        waits = []
        while not slow.done():
            asked_at = time.monotonic()
            client.get("/livez")
            waits.append(time.monotonic() - asked_at)
    assert slow.result().status_code == 200
    return max(waits) / (time.monotonic() - began)


@pytest.mark.django_db(transaction=True)
def test_the_figures_of_a_large_fleet_hold_up_no_other_request(
    client: httpx.Client, served: Served, table: Table
) -> None:
    table()
    Endpoint.objects.bulk_create(
        Endpoint(name=f"mini-{number}", url=f"http://10.0.0.1:{number}", type="vllm-mlx")
        for number in range(1, 1001)
    )
    with httpx.Client(base_url=served.url, trust_env=False, timeout=30) as other:
        shares = [longest_wait(client, other, "/metrics") for _ in range(3)]

    assert min(shares) < 0.25


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_does_not_answer_holds_up_nothing_but_what_asks_for_it(
    client: httpx.Client, served: Served, table: Table, settings: Settings
) -> None:
    table()
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        httpx.Client(base_url=served.url, trust_env=False, timeout=30) as other,
        ThreadPoolExecutor(1) as thread,
    ):
        settings.CELERY_BROKER_URL = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        ready = thread.submit(other.get, "/readyz")
        asked, _ = silent.accept()

        assert client.get("/internal/status").status_code == 200
        assert not ready.done()

        assert ready.result().json()["broker"].startswith("The broker does not answer")
        asked.close()


@pytest.mark.django_db(transaction=True)
def test_it_is_ready_with_a_database_a_broker_and_an_endpoint(
    client: httpx.Client, table: Table, upstream: FakeUpstream
) -> None:
    table(target_for(upstream))

    answer = client.get("/readyz")

    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "database": "ok", "broker": "ok", "endpoints": "ok"}


@pytest.mark.django_db(transaction=True)
def test_it_is_not_ready_without_a_routable_endpoint(
    client: httpx.Client, table: Table, upstream: FakeUpstream
) -> None:
    table(target_for(upstream, status=Status.OFFLINE))

    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json()["endpoints"] == "No endpoint can serve now."
    assert answer.json()["database"] == "ok"


@pytest.mark.django_db(transaction=True)
def test_the_status_counts_what_happened(client: httpx.Client, table: Table, upstream: FakeUpstream) -> None:
    endpoint = stored(upstream)
    table(target_for(upstream, number=endpoint.pk))
    sizes = [len(client.post(CHAT, json=chat_body()).content) for _ in range(3)]
    upstream.answer("/v1/chat/completions", answers.error(500, "out of memory"))
    sizes.append(len(client.post(CHAT, json=chat_body()).content))

    status = client.get("/internal/status").json()

    shown = status["endpoints"][0]
    assert (shown["name"], shown["status"], shown["priority"]) == ("mini-1", "healthy", 85)
    assert (shown["requests"], shown["success_rate"], shown["connections"]) == (4, "75.0%", 0)
    assert shown["traffic"] == figures.size(sum(sizes))
    assert shown["min_latency_ms"] <= shown["avg_latency_ms"] <= shown["max_latency_ms"]
    assert (shown["last_check"], shown["next_check"], shown["models"]["count"]) == ("2s ago", "in 9s", 1)
    assert (status["system"]["total_requests"], status["system"]["total_failures"]) == (4, 1)
    assert status["system"]["endpoints_up"] == "1/1"


@pytest.mark.django_db(transaction=True)
def test_the_endpoint_list_has_its_fields(client: httpx.Client, table: Table, upstream: FakeUpstream) -> None:
    endpoint = stored(upstream)
    table(target_for(upstream, number=endpoint.pk))

    listed = client.get("/internal/status/endpoints").json()

    assert (listed["total_count"], listed["healthy_count"], listed["routable_count"]) == (1, 1, 1)
    shown = listed["endpoints"][0]
    assert (shown["type"], shown["model_count"], shown["response_time"]) == ("vllm-mlx", 1, "12ms")
    assert (shown["request_count"], shown["success_rate"], shown["avg_latency_ms"]) == (0, "N/A", None)
    assert shown["issues"] == ""


@pytest.mark.django_db(transaction=True)
def test_an_unchanged_status_is_not_sent_twice(
    client: httpx.Client, table: Table, upstream: FakeUpstream
) -> None:
    stored(upstream)
    table(target_for(upstream))
    first = client.get("/internal/status/endpoints")

    second = client.get("/internal/status/endpoints", headers={"If-None-Match": first.headers["etag"]})

    assert (second.status_code, second.content) == (304, b"")
    assert first.headers["cache-control"] == "private, no-cache"
    assert first.headers["content-encoding"] == "gzip"


def test_the_tag_changes_with_the_content_and_not_with_time() -> None:
    at_first = {"timestamp": "1", "endpoints": [{"last_check": "2s ago", "status": "healthy"}]}
    later = {"timestamp": "2", "endpoints": [{"last_check": "3s ago", "status": "healthy"}]}
    fallen = {"timestamp": "2", "endpoints": [{"last_check": "3s ago", "status": "offline"}]}

    assert conditional.weak_etag(at_first) == conditional.weak_etag(later) != conditional.weak_etag(fallen)


def test_the_version_names_what_it_supports(client: httpx.Client) -> None:
    told = client.get("/version").json()

    assert told["name"] == "ollaproject"
    assert {"vllm-mlx", "openai-compatible"} <= set(told["supported_backends"])


def test_a_wrong_method_is_told_the_right_ones(client: httpx.Client) -> None:
    answer = client.post("/internal/health")

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert answer.json()["error"]["code"] == "method_not_allowed"


def test_an_unknown_internal_path_is_a_json_404(client: httpx.Client, table: Table) -> None:
    table()

    answer = client.get("/internal/nothing")

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("up", "count", "rate", "expected"),
    [
        (0, 0, None, "critical"),
        (2, 2, None, "healthy"),
        (2, 2, 0.96, "healthy"),
        (2, 2, 0.94, "degraded"),
        (2, 2, 0.89, "critical"),
        (3, 4, None, "degraded"),
        (1, 2, None, "degraded"),
        (1, 3, None, "critical"),
    ],
)
def test_the_systems_word_follows_endpoints_and_success(
    up: int, count: int, rate: float | None, expected: str
) -> None:
    assert system_status(up, count, rate) == expected


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (figures.percent(None), "N/A"),
        (figures.percent(1), "100%"),
        (figures.percent(0.0), "0%"),
        (figures.percent(0.9964), "99.6%"),
        (figures.percent(0.99999), "99.9%"),
        (figures.latency(0.0124), "12ms"),
        (figures.latency(1.24), "1.2s"),
        (figures.latency(None), "0ms"),
        (figures.size(512), "512 B"),
        (figures.size(3287), "3.21 KB"),
        (figures.size(int(1.2 * 2**30)), "1.2 GB"),
        (figures.ago(NOW - timedelta(seconds=16), NOW), "16s ago"),
        (figures.ago(None, NOW), "never"),
        (figures.until(NOW + timedelta(seconds=3), NOW), "in 3s"),
        (figures.until(NOW - timedelta(seconds=3), NOW), "now"),
        (figures.until(None, NOW), "unknown"),
        (figures.span(NOW + timedelta(seconds=3723), NOW), "1h2m3s"),
    ],
)
def test_figures_are_written_as_olla_writes_them(shown: str, expected: str) -> None:
    assert shown == expected


@pytest.mark.django_db
def test_the_fleet_is_told_as_it_is_routed_while_the_database_is_away(
    table: Table, upstream: FakeUpstream
) -> None:
    table(target_for(upstream))

    def away(*_: object) -> None:
        raise OperationalError("connection refused")

    with connection.execute_wrapper(away):
        (state,) = fleet()

    assert (state.name, state.status, state.routable, state.model_count) == (
        "mini-1",
        Status.HEALTHY,
        True,
        1,
    )
    assert state.checked_at is None
    assert (
        b'olla_endpoint_up{endpoint="mini-1",type="vllm-mlx"} 1.0' in render([state], TRAFFIC, accept="")[0]
    )
