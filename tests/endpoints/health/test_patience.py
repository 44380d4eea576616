"""Busy, loading, recovering, and dead inside: what lies between healthy and down."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from bench.routing.fleet import target
from endpoints.choices import Status
from endpoints.health import deep_checks, health, prober, rules
from endpoints.health.findings import Finding, FoundModel, ProbeResult
from endpoints.health.rules import HealthState, Thresholds
from endpoints.health.schedule import Claim
from endpoints.models import Endpoint, EndpointHealth, EndpointModel
from endpoints.routing import routing_table
from endpoints.routing.selection import Candidate, Load, Tier
from endpoints.routing.snapshot import FIRST_SHARE, Ramp
from endpoints.routing.strategies import STRATEGIES
from ollaproject.wire import clock
from tests.endpoints.choosing import no_prompt
from tests.fakes import answers

if TYPE_CHECKING:
    from tests.endpoints.conftest import MakeEndpoint
    from tests.fakes.upstream import FakeUpstream

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
HEALTHY = ProbeResult(Status.HEALTHY, http_status=200)
LOADING = ProbeResult(Status.WARMING, "its model is loading", http_status=200)
SILENT = ProbeResult(Status.OFFLINE, "no answer within 2s", silent=True)
REFUSED = ProbeResult(Status.OFFLINE, "connection refused")


def judged(*results: ProbeResult, every: float = 5.0, load_seconds: float = 0.0) -> HealthState:
    """The state after these results, so many seconds apart."""
    state = HealthState(Status.UNKNOWN, "", START)
    for number, result in enumerate(results):
        at = START + timedelta(seconds=every * number)
        state = rules.judge(state, result, at=at, thresholds=Thresholds(), load_seconds=load_seconds)
    return state


# --- Busy ---


def test_a_slow_check_means_busy_until_one_is_a_good_deal_faster() -> None:
    slow, middling, quick = (replace(HEALTHY, time_share=share) for share in (0.8, 0.5, 0.1))

    assert judged(slow).status == Status.BUSY
    assert judged(slow, middling).status == Status.BUSY
    assert judged(slow, quick).status == Status.HEALTHY
    assert judged(quick, middling).status == Status.HEALTHY


def test_a_busy_endpoint_goes_down_like_any_other() -> None:
    assert judged(replace(HEALTHY, time_share=0.9), REFUSED).status == Status.BUSY
    assert judged(replace(HEALTHY, time_share=0.9), REFUSED, REFUSED).status == Status.OFFLINE


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_busy_endpoint_gets_less_by_every_strategy(name: str) -> None:
    strategy, shares = STRATEGIES[name](), Counter[int]()
    targets = [target(1, max_concurrent=1000), replace(target(2, max_concurrent=1000), status=Status.BUSY)]
    tier = Tier(Candidate(each, Load(to_answer=1.0)) for each in targets)

    for _ in range(400):
        found = strategy.choose(tier, no_prompt)
        assert found is not None
        found.load.in_flight += 1
        shares[found.target.id] += 1

    assert 0.1 < shares[2] / shares[1] < 0.4


# --- Loading ---


def test_a_server_that_loads_is_not_called_dead_while_it_does_not_answer() -> None:
    assert judged(LOADING, SILENT, SILENT, SILENT, load_seconds=60).status == Status.WARMING
    assert judged(LOADING, SILENT, SILENT, SILENT, HEALTHY, load_seconds=60).status == Status.HEALTHY


def test_a_server_that_loads_and_refuses_connections_has_died() -> None:
    assert judged(LOADING, REFUSED, load_seconds=60).status == Status.OFFLINE


def test_patience_ends_with_the_time_that_loading_takes() -> None:
    state = judged(LOADING, *[SILENT] * 20, load_seconds=60)
    still_loading = judged(*[LOADING] * 20, load_seconds=60)

    assert state.status == Status.OFFLINE
    assert still_loading.status == Status.UNHEALTHY
    assert "loading for longer than 1m" in still_loading.reason


def test_what_loads_for_ever_does_not_begin_anew() -> None:
    assert judged(*[LOADING] * 100, load_seconds=60).status == Status.UNHEALTHY
    assert judged(*[LOADING] * 100, HEALTHY, LOADING, load_seconds=60).status == Status.WARMING


@pytest.mark.django_db
def test_the_profile_and_the_size_of_the_model_say_how_long_it_may_take(make_endpoint: MakeEndpoint) -> None:
    large = make_endpoint(name="large")
    small = make_endpoint(name="small")
    now = clock.now()
    for made, model in ((large, "Llama-3.1-70B-Instruct-4bit"), (small, "Llama-3.2-1B-Instruct-4bit")):
        EndpointModel.objects.create(
            endpoint=made, name=model, created=0, first_seen_at=now, last_seen_at=now
        )

    assert health.load_seconds(large) == 120
    assert health.load_seconds(small) == 10


# --- Recovering ---


def test_a_slow_start_grows_from_a_tenth_to_the_full_share() -> None:
    ramp = Ramp(full_at=110.0, seconds=10.0)

    assert [ramp.share(now) for now in (100.0, 105.0, 110.0, 500.0)] == [FIRST_SHARE, 0.5, 1.0, 1.0]


@pytest.mark.django_db
def test_an_endpoint_that_came_back_starts_slowly_and_one_that_is_new_does_not(
    make_endpoint: MakeEndpoint,
) -> None:
    back, new = make_endpoint(name="back"), make_endpoint(name="new")
    now = clock.now()
    for seconds, result in ((3, REFUSED), (2, REFUSED), (1, HEALTHY)):
        health.record(endpoint=back, finding=Finding(result), at=now - timedelta(seconds=seconds))
    health.record(endpoint=new, finding=Finding(HEALTHY), at=now)

    found = {each.name: each for each in routing_table.build(1).targets}

    assert found["back"].ramp is not None
    assert FIRST_SHARE <= found["back"].traffic < 0.5
    assert (found["new"].ramp, found["new"].traffic) == (None, 1.0)


@pytest.mark.django_db
def test_one_that_came_back_before_the_clock_was_set_back_has_started(make_endpoint: MakeEndpoint) -> None:
    back, later = make_endpoint(name="back"), clock.now() + timedelta(hours=1)
    for seconds, result in ((3, REFUSED), (2, REFUSED), (1, HEALTHY)):
        health.record(endpoint=back, finding=Finding(result), at=later - timedelta(seconds=seconds))

    (found,) = routing_table.build(1).targets
    assert (found.ramp, found.traffic) == (None, 1.0)


def test_one_that_starts_slowly_serves_alone_what_nobody_else_does() -> None:
    alone = replace(target(1), ramp=Ramp(time.monotonic() + 100, 100))
    tier = Tier([Candidate(alone, Load())])

    for make in STRATEGIES.values():
        assert make().choose(tier, no_prompt) is tier.candidates[0]


# --- Requests at once ---


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Llama-3.2-3B-Instruct-4bit", 20),
        ("Qwen2.5-14B-Instruct-8bit", 10),
        ("Qwen3-32B-4bit", 5),
        ("Llama-3.1-70B-Instruct-4bit", 2),
        ("some-model", 20),
    ],
)
def test_a_large_model_gets_fewer_requests_at_once(
    make_endpoint: MakeEndpoint, name: str, expected: int
) -> None:
    made = make_endpoint()
    now = clock.now()
    EndpointModel.objects.create(endpoint=made, name=name, created=0, first_seen_at=now, last_seen_at=now)

    assert routing_table.build(1).targets[0].max_concurrent == expected


# --- Dead inside ---


@pytest.mark.django_db(transaction=True)
def test_a_server_that_is_well_and_generates_nothing_goes_down_and_comes_back(
    make_endpoint: MakeEndpoint, upstream: FakeUpstream, checks: None
) -> None:
    endpoint = make_endpoint(url=upstream.url, deep_check_interval_seconds=60, check_interval_seconds=30)
    upstream.answer("/v1/chat/completions", answers.error(500, "dead inside"))
    seen: list[str] = []

    def check_until(status: Status) -> None:
        for _ in range(40):
            asked = len(upstream.requests_for("/v1/chat/completions"))
            prober.submit([Claim(endpoint_with_health(), clock.now())])
            deadline = time.monotonic() + 0.25
            while time.monotonic() < deadline and asked == len(upstream.requests_for("/v1/chat/completions")):
                time.sleep(0.02)
            found = EndpointHealth.objects.get(pk=endpoint.pk)
            seen.append(found.status)
            if found.status == status:
                return
        raise AssertionError(seen)

    def endpoint_with_health() -> Endpoint:
        return Endpoint.objects.select_related("health").get(pk=endpoint.pk)

    check_until(Status.HEALTHY)
    check_until(Status.UNHEALTHY)
    reason = EndpointHealth.objects.get(pk=endpoint.pk).reason
    upstream.answer("/v1/chat/completions", answers.chat)
    check_until(Status.HEALTHY)

    assert "generates nothing: it answered 500" in reason
    assert upstream.requests_for("/v1/chat/completions")[0].json()["max_tokens"] == 1


@pytest.mark.django_db
def test_a_deep_check_is_claimed_once_and_not_again_before_it_is_due(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint(deep_check_interval_seconds=60)
    now = clock.now()
    found = Finding(HEALTHY, models=(FoundModel("m1"),))
    health.record(endpoint=endpoint, finding=found, at=now)

    assert deep_checks.claim(endpoint, at=now) is not None
    assert deep_checks.claim(endpoint, at=now + timedelta(seconds=30)) is None
    assert deep_checks.claim(endpoint, at=now + timedelta(seconds=61)) is not None
    deep_checks.record(endpoint.pk, "no answer within 30s")
    assert deep_checks.claim(endpoint, at=now + timedelta(seconds=62)) is not None


@pytest.mark.django_db
def test_a_model_that_is_not_in_memory_is_not_loaded_for_a_deep_check(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint(deep_check_interval_seconds=60)
    asleep = Finding(HEALTHY, models=(FoundModel("m1", loaded=False),))
    health.record(endpoint=endpoint, finding=asleep, at=clock.now())

    assert deep_checks.claim(endpoint, at=clock.now()) is None
