"""Section 6 of the contract as a table: every route, every field, and how it may be polled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from proxy.routing.sticky import Sticky, StickyRules
from tests.proxy.conftest import CHAT, chat_body, gateway_with, target_for
from tests.proxy.status.test_operator import stored
from tests.proxy.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from proxy.gateway import Gateway
    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Table = Callable[..., None]

pytestmark = pytest.mark.django_db(transaction=True)

DETAILED = "/internal/status/models?detailed=true&group=family"
STATUS = ("/internal/status", "/internal/status/endpoints", "/internal/status/models", DETAILED)
# Route → where in its answer → the fields that have to be there. A number is a place in a list.
FIELDS: dict[str, dict[tuple[str | int, ...], str]] = {
    "/internal/health": {(): "status"},
    "/internal/status": {
        (): "timestamp proxy endpoints security system",
        ("proxy",): "engine profile balancer",
        (
            "endpoints",
            0,
        ): """id name url status priority success_rate avg_latency avg_latency_ms min_latency_ms
            max_latency_ms traffic connections requests last_check health_check_at next_check next_check_at
            issues models""",
        ("endpoints", 0, "models"): "count last_updated",
        ("security",): "status blocked_ips violations",
        ("security", "violations"): "rate_limits size_limits",
        (
            "system",
        ): """status endpoints_up success_rate avg_latency total_traffic uptime start_time version commit
            active_connections security_violations total_requests total_failures has_traffic""",
    },
    "/internal/status/endpoints": {
        (): "timestamp total_count healthy_count routable_count endpoints",
        ("endpoints", 0): """id name type url status priority model_count request_count success_rate
            min_latency_ms max_latency_ms avg_latency_ms active_connections health_check health_check_at
            next_check_at response_time last_model_sync last_model_sync_at issues""",
    },
    "/internal/status/models": {
        (): "timestamp total_models total_families total_endpoints models_by_family recent_models",
        (
            "recent_models",
            0,
        ): """name type family size params quant last_seen last_seen_at endpoints endpoint_ids
            aliases capabilities""",
    },
    DETAILED: {(): "model_groups", ("model_groups", 0): "family models endpoints model_count"},
    "/internal/stats/models": {
        (): "timestamp models summary",
        ("models", 0): """name total_requests successful_requests failed_requests success_rate total_traffic
            average_latency p95_latency p99_latency unique_clients last_requested routing_hits routing_misses
            routing_fallbacks prompt_tokens completion_tokens ttft_p50_ms ttft_p95_ms tokens_per_second""",
        ("summary",): """total_models active_models total_requests overall_success_rate total_traffic
            most_popular_model""",
    },
    "/internal/stats/translators": {
        (): "timestamp translators summary",
        ("translators", 0): """translator_name total_requests successful_requests failed_requests success_rate
            passthrough_rate average_latency passthrough_requests translation_requests streaming_requests
            non_streaming_requests fallback_no_compatible_endpoints""",
    },
    "/internal/stats/sticky": {
        (): "enabled active_sessions insertions hits misses evictions max_sessions idle_ttl_seconds"
    },
    "/internal/process": {(): "memory garbage_collection threads runtime"},
    "/version": {
        (): "name version edition description build capabilities supported_backends api links",
        ("build",): "commit date python_version platform",
        ("api",): "version endpoints",
    },
    "/olla/models": {
        (): "object data",
        ("data", 0): "id object owned_by created olla",
        ("data", 0, "olla"): """family variant parameter_size quantization max_context_length aliases
            availability capabilities""",
        ("data", 0, "olla", "availability", 0): "endpoint state",
    },
}


@pytest.fixture
def served(serve: Callable[[Gateway], Served]) -> Served:
    rules = StickyRules(sources=("session_header",), idle_ttl=600, max_sessions=10, prefix_bytes=512)
    return serve(gateway_with(sticky=Sticky(rules, secret=b"s")))


@pytest.fixture
def busy(client: httpx.Client, table: Table, upstream: FakeUpstream) -> httpx.Client:
    """A gateway that has answered one request."""
    table(target_for(upstream, number=stored(upstream).pk))
    assert client.post(CHAT, json=chat_body()).status_code == 200
    return client


def test_every_field_is_there(busy: httpx.Client) -> None:
    missing: list[str] = []
    for route, places in FIELDS.items():
        answer: Any = busy.get(route)
        assert answer.status_code == 200, route
        for place, names in places.items():
            found: Any = answer.json()
            for step in place:
                found = found[step]
            missing += [f"{route} {place}: {name}" for name in names.split() if name not in found]
    assert missing == []


@pytest.mark.parametrize("route", STATUS)
def test_what_is_polled_has_a_weak_tag_and_is_packed_for_who_wants_that(
    busy: httpx.Client, route: str
) -> None:
    packed = busy.get(route, headers={"Accept-Encoding": "gzip"})
    plain = busy.get(route, headers={"Accept-Encoding": "identity"})
    tag = packed.headers["etag"]
    again = [busy.get(route, headers={"If-None-Match": each}) for each in (tag, f'"x", {tag}', "*", '"x"')]

    assert tag.startswith('W/"')
    assert packed.headers["cache-control"] == plain.headers["cache-control"] == "private, no-cache"
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert plain.headers["etag"] == tag
    assert [(each.status_code, bool(each.content)) for each in again] == [(304, False)] * 3 + [(200, True)]
    assert again[0].headers["etag"] == tag


def test_tags_outlast_the_seconds_and_no_change(busy: httpx.Client, upstream: FakeUpstream) -> None:
    first = {route: busy.get(route) for route in STATUS}

    def told_anew(route: str) -> bool:
        """Whether what is relative has moved on: 2s ago is 3s ago."""
        now = busy.get(route)
        assert now.headers["etag"] == first[route].headers["etag"], route
        return _without_moment(now.json()) != _without_moment(first[route].json())

    for route in STATUS:
        wait_for(lambda route=route: told_anew(route))  # type: ignore[misc]

    # A request changes what is told of endpoints, and nothing of what is told of models.
    assert busy.post(CHAT, json=chat_body()).status_code == 200
    changed = {route: busy.get(route).headers["etag"] != first[route].headers["etag"] for route in STATUS}
    assert list(changed.values()) == [True, True, False, False]


def _without_moment(payload: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in payload.items() if name != "timestamp"}
    if "system" in kept:
        kept["system"] = {name: value for name, value in kept["system"].items() if name != "uptime"}
    return kept
