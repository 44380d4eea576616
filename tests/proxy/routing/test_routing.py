"""Which endpoint gets a request, and what is said when none can."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from endpoints.choices import Mode, Status
from ollaproject.wire import clock
from tests.proxy.conftest import CHAT, chat_body, gateway_with, target_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Table = Callable[..., None]
    Upstreams = Callable[..., FakeUpstream]


def test_the_highest_priority_serves(client: httpx.Client, upstreams: Upstreams, table: Table) -> None:
    low, high = upstreams(), upstreams()
    table(target_for(low, number=1, priority=10), target_for(high, number=2, priority=20))

    names = {client.post(CHAT, json=chat_body()).headers["x-olla-endpoint"] for _ in range(4)}

    assert names == {"mini-2"}


def test_equals_take_turns(client: httpx.Client, upstreams: Upstreams, table: Table) -> None:
    table(*(target_for(upstreams(), number=number) for number in (1, 2, 3)))

    counted = Counter(client.post(CHAT, json=chat_body()).headers["x-olla-endpoint"] for _ in range(9))

    assert counted == {"mini-1": 3, "mini-2": 3, "mini-3": 3}


def test_by_default_a_conversation_stays_where_it_began(
    serve: Callable[..., Served], upstreams: Upstreams, table: Table
) -> None:
    table(*(target_for(upstreams(), number=number) for number in (1, 2, 3)))
    messages = [{"role": "user", "content": "What is MLX?"}]
    homes = set()

    with httpx.Client(base_url=serve(gateway_with(balancer="cache-aware")).url, trust_env=False) as client:
        for turn in range(8):
            answer = client.post(CHAT, json={"model": "m1", "messages": messages})
            homes.add(answer.headers["x-olla-endpoint"])
            messages += [
                {"role": "assistant", "content": f"Answer {turn}"},
                {"role": "user", "content": "Go on."},
            ]

    assert len(homes) == 1


def test_only_an_endpoint_with_the_model_is_asked(
    client: httpx.Client, upstreams: Upstreams, table: Table
) -> None:
    table(target_for(upstreams("other"), number=1, priority=99), target_for(upstreams("m1"), number=2))

    assert client.post(CHAT, json=chat_body("m1")).headers["x-olla-endpoint"] == "mini-2"


def test_without_a_model_any_endpoint_of_the_type_will_do(
    client: httpx.Client, upstream: FakeUpstream, table: Table
) -> None:
    table(target_for(upstream))

    answer = client.post("/olla/vllm-mlx/tokenize", json={"text": "x"})

    assert answer.headers["x-olla-endpoint"] == "mini-1"
    assert "x-olla-model" not in answer.headers
    assert "x-olla-routing-decision" not in answer.headers


def test_a_surface_reaches_only_its_own_types(
    client: httpx.Client, upstreams: Upstreams, table: Table
) -> None:
    table(
        target_for(upstreams(), number=1, type="openai-compatible", priority=99),
        target_for(upstreams(), number=2, type="vllm-mlx"),
    )

    def endpoint(base: str) -> str:
        return client.post(f"{base}/v1/chat/completions", json=chat_body()).headers["x-olla-endpoint"]

    assert endpoint("/olla/vllm-mlx") == "mini-2"
    assert endpoint("/olla/openai-compatible") == "mini-1"
    assert endpoint("/olla/openai") == "mini-1"
    assert endpoint("/olla/proxy") == "mini-1"


def test_an_unknown_model_is_told_which_there_are(
    client: httpx.Client, upstreams: Upstreams, table: Table
) -> None:
    table(target_for(upstreams(*(f"model-{number:02}" for number in range(12)))))

    answer = client.post(CHAT, json=chat_body("nope"))

    assert answer.status_code == 404
    error = answer.json()["error"]
    assert (error["code"], error["param"], error["type"]) == (
        "model_not_found",
        "model",
        "invalid_request_error",
    )
    assert "'nope'" in error["message"]
    assert "model-09 and 2 more" in error["message"]
    assert answer.headers["x-olla-routing-decision"] == "rejected"
    assert answer.headers["x-olla-routing-reason"] == "model_not_found"
    assert answer.headers["x-olla-model"] == "nope"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"status": Status.OFFLINE, "reason": "connection refused"},
            "mini-1 is offline (connection refused)",
        ),
        ({"status": Status.WARMING}, "mini-1 is warming up"),
        ({"mode": Mode.DRAINING}, "mini-1 is draining"),
        ({"mode": Mode.PAUSED}, "mini-1 is paused"),
    ],
)
def test_a_known_model_without_a_routable_endpoint_is_unavailable(
    client: httpx.Client, upstream: FakeUpstream, table: Table, changes: dict[str, Any], words: str
) -> None:
    table(target_for(upstream, **changes))

    answer = client.post(CHAT, json=chat_body())

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert answer.json()["error"]["code"] == "model_unavailable"
    assert words in answer.json()["error"]["message"]
    assert answer.headers["x-olla-routing-reason"] == "model_unavailable"
    assert not upstream.requests


def test_a_refusal_says_when_an_endpoint_is_next_asked(
    client: httpx.Client, upstream: FakeUpstream, table: Table
) -> None:
    limited = {"status": Status.RATE_LIMITED}
    soon, later = (clock.now() + timedelta(seconds=seconds) for seconds in (40, 90))
    table(
        target_for(upstream, number=1, next_check_at=later, **limited),
        target_for(upstream, number=2, next_check_at=soon, **limited),
        target_for(upstream, number=3, next_check_at=clock.now(), mode=Mode.PAUSED),
    )
    refused = client.post(CHAT, json=chat_body())
    assert 30 <= int(refused.headers["retry-after"]) <= 40
    assert f"Try again in {refused.headers['retry-after']} s." in refused.json()["error"]["message"]


def test_without_any_endpoint_it_says_so(client: httpx.Client, table: Table) -> None:
    table()

    answer = client.post(CHAT, json=chat_body())

    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "no_healthy_endpoint"
    assert "There is no vllm-mlx endpoint" in answer.json()["error"]["message"]
    assert answer.headers["retry-after"] == "5"


def test_an_endpoint_that_was_never_well_may_have_the_model(
    client: httpx.Client, upstream: FakeUpstream, table: Table
) -> None:
    table(target_for(upstream, status=Status.OFFLINE, models=()))

    assert client.post(CHAT, json=chat_body()).json()["error"]["code"] == "no_healthy_endpoint"


def test_a_new_routing_table_is_used_at_once(
    client: httpx.Client, upstreams: Upstreams, table: Table
) -> None:
    one, two = upstreams(), upstreams()
    table(target_for(one, number=1))
    assert client.post(CHAT, json=chat_body()).headers["x-olla-endpoint"] == "mini-1"

    table(target_for(two, number=2))

    assert client.post(CHAT, json=chat_body()).headers["x-olla-endpoint"] == "mini-2"


def test_a_changed_url_of_an_endpoint_is_used_at_once(
    client: httpx.Client, upstreams: Upstreams, table: Table
) -> None:
    one, two = upstreams(), upstreams()
    table(target_for(one))
    client.post(CHAT, json=chat_body())

    table(target_for(two))
    client.post(CHAT, json=chat_body())

    assert (len(one.requests), len(two.requests)) == (1, 1)


@pytest.mark.parametrize("path", ["/olla/nope/v1/models", "/olla/", "/olla", "/v1", "/olla/vllm-mlx"])
def test_an_unknown_path_is_a_json_404(client: httpx.Client, table: Table, path: str) -> None:
    table()

    answer = client.get(path)

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"
    assert answer.headers["x-olla-request-id"]


@pytest.mark.parametrize(
    "path", ["../admin/", "v1/../../x", "v1/%2e%2e/x", "v1/.%2E/x", "v1%2f..%2fx", "./x"]
)
def test_dots_lead_nowhere(client: httpx.Client, upstream: FakeUpstream, table: Table, path: str) -> None:
    table(target_for(upstream))
    # httpx would tidy the path up: this one goes out as it is.
    request = client.build_request("GET", "/", extensions={"target": f"/olla/vllm-mlx/{path}".encode()})

    answer = client.send(request)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_path")
    assert not upstream.requests
