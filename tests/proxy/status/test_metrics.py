"""What Prometheus reads: true numbers, by the rules, and a dashboard that asks for what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes import answers
from tests.proxy.conftest import CHAT, chat_body, target_for
from tests.proxy.status.test_operator import stored

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx
    from prometheus_client import Metric

    from tests.fakes.upstream import FakeUpstream

    Table = Callable[..., None]

ROOT = Path(__file__).resolve().parent.parent.parent.parent
DASHBOARD = ROOT / "deploy" / "grafana" / "ollaproject.json"
NAME = re.compile(r"\b(?:olla|gen_ai)_[a-z_]+")
UNITS = ("_seconds", "_bytes", "_total", "_info", "_count", "_sum", "_bucket")
# Gauges that count things, and the one name that the semantic conventions give.
COUNTS = re.compile(
    r"olla_(?:requests_in_flight|queue_waiting|queue_position|web_processes|endpoint_(?:up|status|models|requests_in_flight))"
    r"|gen_ai_client_token_usage"
)

pytestmark = pytest.mark.django_db(transaction=True)


def families(client: httpx.Client, path: str = "/metrics") -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(client.get(path).text)}


def value(found: dict[str, Metric], name: str, **labels: str) -> float:
    samples = [each for family in found.values() for each in family.samples if each.name == name]
    return sum(each.value for each in samples if labels.items() <= each.labels.items())


@pytest.fixture
def busy(client: httpx.Client, table: Table, upstream: FakeUpstream) -> httpx.Client:
    """A gateway that was asked for two plain answers, a stream, one that fails, and nobody's model."""
    endpoint = stored(upstream)
    table(target_for(upstream, number=endpoint.pk))
    for _ in range(2):
        assert client.post(CHAT, json=chat_body()).status_code == 200
    usage = answers.event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 4}})
    events = answers.chat_events("m1", ["MLX", " is", " fast", "."])
    upstream.answer("/v1/chat/completions", answers.sse([*events[:-1], usage, events[-1]]))
    assert client.post(CHAT, json=chat_body(stream=True)).status_code == 200
    upstream.answer("/v1/chat/completions", answers.error(500, "out of memory"))
    assert client.post(CHAT, json=chat_body()).status_code == 500
    assert client.post(CHAT, json=chat_body("nobody's")).status_code == 404
    return client


def test_it_counts_what_happened(busy: httpx.Client) -> None:
    found = families(busy)
    endpoint = {"endpoint": "mini-1", "type": "vllm-mlx"}
    assert value(found, "olla_requests_total") == 5
    assert value(found, "olla_request_errors_total", code="model_not_found") == 1
    assert value(found, "olla_model_requests_total", model="m1", operation="chat", status="2xx") == 3
    assert value(found, "olla_model_requests_total", model="m1", operation="chat", status="5xx") == 1
    assert value(found, "olla_tokens_total", model="m1", kind="prompt") == 17
    assert value(found, "olla_endpoint_requests_total", **endpoint) == 4
    assert value(found, "olla_endpoint_failures_total", **endpoint) == 1
    assert value(found, "olla_endpoint_up", **endpoint) == 1
    assert value(found, "olla_endpoint_status", **endpoint, status="healthy") == 1
    assert value(found, "olla_endpoint_status") == 1
    chat = {"gen_ai_request_model": "m1", "gen_ai_operation_name": "chat"}
    assert value(found, "gen_ai_server_request_duration_seconds_count", **chat) == 4
    assert value(found, "gen_ai_server_time_to_first_token_seconds_count", **chat) == 1
    assert value(found, "gen_ai_client_token_usage_sum", **chat, gen_ai_token_type="output") == 10
    assert value(found, "gen_ai_server_time_per_output_token_seconds_count", **chat) == 1
    assert value(found, "olla_proxy_overhead_seconds_count") == 4


def test_a_name_that_a_client_makes_up_is_no_label(busy: httpx.Client) -> None:
    assert "nobody" not in busy.get("/metrics").text


def test_both_paths_and_both_formats_say_the_same(busy: httpx.Client) -> None:
    assert set(families(busy, "/internal/metrics")) == set(families(busy))
    answer = busy.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    read = {family.name for family in openmetrics.text_string_to_metric_families(answer.text)}  # type: ignore[no-untyped-call]
    assert read >= {"olla_requests", "olla_build", "gen_ai_server_request_duration_seconds"}


def test_names_follow_the_rules(busy: httpx.Client) -> None:
    for family in families(busy).values():
        assert family.documentation
        for sample in family.samples:
            assert sample.name.endswith(UNITS) or COUNTS.fullmatch(sample.name), sample.name


def test_the_dashboard_asks_for_metrics_that_there_are(busy: httpx.Client) -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    asked += [each["definition"] for each in dashboard["templating"]["list"] if "definition" in each]
    labels = {"gen_ai_request_model", "gen_ai_operation_name", "gen_ai_token_type"}
    names = {name for text in asked for name in NAME.findall(text)} - labels
    exported = {sample.name for family in families(busy).values() for sample in family.samples}
    assert len(asked) > 20
    assert names - exported == set()


def test_every_metric_is_documented(busy: httpx.Client) -> None:
    text = (ROOT / "docs" / "metrics.md").read_text()
    for name in families(busy):
        assert f"`{name}" in text, name
