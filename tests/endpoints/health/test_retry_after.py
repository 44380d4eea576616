"""How long an endpoint that limits our requests asks us to stay away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from endpoints.choices import Status
from endpoints.health import health, health_answers, probe
from endpoints.health.checking import check_target
from endpoints.health.findings import Finding, ProbeResult
from endpoints.models import Endpoint
from endpoints.routing import routing_table
from ollaproject.wire import clock
from tests.fakes import answers

if TYPE_CHECKING:
    from tests.endpoints.conftest import MakeEndpoint
    from tests.fakes.upstream import FakeUpstream


async def test_the_retry_after_of_a_429_comes_with_the_result(upstream: FakeUpstream) -> None:
    upstream.answer("/health", answers.raw(answers.head(429, {"Content-Length": 0, "Retry-After": 30})))
    async with probe.Checker() as checker:
        result = await checker.probe(check_target(Endpoint(name="mini-1", url=upstream.url)))
    assert (result.status, result.retry_after_seconds) == (Status.RATE_LIMITED, 30)


def test_the_routing_table_knows_when_it_is_asked_again(make_endpoint: MakeEndpoint) -> None:
    endpoint, at = make_endpoint(), clock.now()
    finding = Finding(ProbeResult(Status.RATE_LIMITED, "it limits our requests", retry_after_seconds=90))
    endpoint.health.next_check_at = at + timedelta(seconds=5)
    endpoint.health.save()
    health.record(endpoint=endpoint, finding=finding, at=at)
    (target,) = routing_table.build(1).targets
    assert target.next_check_in(at) == pytest.approx(90)
    assert target.next_check_in(at + timedelta(seconds=91)) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30),
        ("0", 0),
        ("9" * 5000, 999_999_999),
        ("Mon, 23 Nov 2026 09:01:00 GMT", 60),
        ("Mon, 23 Nov 2026 10:01:00 +0100", 60),
        ("Mon, 23 Nov 2026 08:00:00 GMT", 0),
        ("", None),
        ("soon", None),
        ("-1", None),
    ],
)
def test_a_retry_after_is_a_number_or_a_date(text: str, seconds: float | None) -> None:
    now = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
    assert health_answers.read_retry_after(text, now=now) == seconds
