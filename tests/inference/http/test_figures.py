"""What operators read: figures that are those of the requests, while the model loads too."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx

from inference.http.meter import Meter
from ollaproject.wire.release import VERSION
from tests.inference.conftest import TINY
from tests.inference.servers import running

if TYPE_CHECKING:
    from inference.options import ServerOptions
    from tests.inference.servers import Running

COMPLETION: dict[str, Any] = {"model": TINY, "prompt": [5, 6, 7], "max_tokens": 9, "temperature": 0}


def metric(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found is not None, f"{name} is not in {text}"
    return float(found[1])


def test_the_version_is_that_of_the_project(tiny_http: httpx.Client) -> None:
    assert tiny_http.get("/version").json() == {"version": VERSION}


def test_status_counts_the_tokens_of_an_answer(tiny_http: httpx.Client) -> None:
    before = tiny_http.get("/v1/status").json()
    prompt = list(range(5, 25))  # long enough to be kept
    tiny_http.post("/v1/completions", json={**COMPLETION, "prompt": prompt})
    after = tiny_http.get("/v1/status").json()
    assert after["total_completion_tokens"] - before["total_completion_tokens"] == 9
    assert after["total_prompt_tokens"] - before["total_prompt_tokens"] == len(prompt)
    assert after["generation_tps"] > 0
    tiny_http.post("/v1/completions", json={**COMPLETION, "prompt": prompt})
    again = tiny_http.get("/v1/status").json()
    assert again["total_cached_tokens"] - after["total_cached_tokens"] == len(prompt) - 1
    exposed = metric(tiny_http.get("/metrics").text, "olla_model_cached_tokens_total")
    assert exposed == again["total_cached_tokens"]
    assert (after["status"], after["reason"], after["model"]) == ("healthy", None, TINY)
    assert (after["num_running"], after["num_waiting"]) == (0, 0)
    assert after["memory"]["active_bytes"] > 0
    mlx = {"active_bytes", "peak_bytes", "cache_bytes"}
    assert set(after["memory"]) == mlx | {"kv_bytes", "prompt_cache_bytes", "kv_budget_bytes"}
    assert after["memory"]["kv_bytes"] == 0  # nothing runs
    assert 0 < after["memory"]["prompt_cache_bytes"] < after["memory"]["kv_budget_bytes"]


def test_metrics_count_requests_by_route_and_status(tiny_http: httpx.Client) -> None:
    answered = 'olla_model_requests_total{route="completions",status="200"}'
    refused = 'olla_model_requests_total{route="completions",status="400"}'
    tiny_http.post("/v1/completions", json=COMPLETION)
    tiny_http.post("/v1/completions", json={})
    before = tiny_http.get("/metrics").text
    tiny_http.post("/v1/completions", json=COMPLETION)
    tiny_http.post("/v1/completions", json={})
    tiny_http.get("/some/path/that/nobody/serves")
    response = tiny_http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert response.headers["x-request-id"]
    assert metric(response.text, answered) - metric(before, answered) == 1
    assert metric(response.text, refused) - metric(before, refused) == 1
    assert metric(response.text, 'olla_model_requests_total{route="other",status="404"}') >= 1
    assert "nobody" not in response.text
    tokens = "olla_model_completion_tokens_total"
    assert metric(response.text, tokens) - metric(before, tokens) == 9
    first = "olla_model_time_to_first_token_seconds_count"
    assert metric(response.text, first) - metric(before, first) == 1
    assert metric(response.text, "olla_model_healthy") == 1


def test_an_answer_without_a_token_has_no_time_to_its_first(tiny_http: httpx.Client) -> None:
    first = "olla_model_time_to_first_token_seconds_count"
    before = metric(tiny_http.get("/metrics").text, first)
    scored = {**COMPLETION, "echo": True, "max_tokens": 0}
    assert tiny_http.post("/v1/completions", json=scored).status_code == 200
    assert metric(tiny_http.get("/metrics").text, first) == before


def test_figures_need_the_key_of_the_server(tiny_options: ServerOptions) -> None:
    with running(replace(tiny_options, api_key="let me in")) as server:
        for path in ("/metrics", "/v1/status", "/version", "/tokenize"):
            assert httpx.get(server.url + path, trust_env=False).status_code in (401, 405)
        key = {"Authorization": "Bearer let me in"}
        assert httpx.get(f"{server.url}/metrics", headers=key, trust_env=False).status_code == 200


def test_status_says_why_while_the_server_stops(tiny_options: ServerOptions) -> None:
    with running(tiny_options) as server:
        stopping = _status_after_close(server)
    assert stopping["status"] == "unhealthy"
    assert "shutting down" in stopping["reason"]


def _status_after_close(server: Running) -> dict[str, Any]:
    server.run(server.server.engine.close(grace_seconds=0))
    status: dict[str, Any] = httpx.get(f"{server.url}/v1/status", trust_env=False).json()
    return status


def test_the_rate_is_of_the_tokens_that_were_counted() -> None:
    meter = Meter()
    assert meter.tokens_per_second() == 0
    meter.count_tokens(3)
    meter.count_tokens(4)
    assert meter.completion_tokens == 7
    assert meter.tokens_per_second() >= 0.7
