"""The lists of models, in the seed's shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from endpoints.choices import Status
from endpoints.routing.snapshot import ServedModel
from tests.proxy.conftest import target_for

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from tests.fakes.upstream import FakeUpstream

    Table = Callable[..., None]
    Upstreams = Callable[..., FakeUpstream]

LLAMA = "mlx-community/Llama-3.2-3B-Instruct-4bit"


def ids(client: httpx.Client, base: str) -> list[str]:
    return [model["id"] for model in client.get(f"{base}/v1/models").json()["data"]]


@pytest.mark.parametrize(
    ("base", "backend_type"),
    [("/olla/vllm-mlx", "vllm-mlx"), ("/olla/lmstudio", "lm-studio"), ("", None), ("/olla/proxy", None)],
)
def test_whatever_answers_below_a_type_says_the_type(
    client: httpx.Client, upstreams: Upstreams, table: Table, base: str, backend_type: str | None
) -> None:
    """The seed: always "vllm-mlx" for these endpoints. Lists and refusals are the gateway's own answers."""
    table(target_for(upstreams(LLAMA)))

    for answer in (
        client.get(f"{base}/v1/models"),
        client.post(f"{base}/v1/chat/completions", json={"model": "nobody's", "messages": []}),
    ):
        assert answer.headers.get("x-olla-backend-type") == backend_type
        assert "x-olla-endpoint" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/olla/vllm-mlx/v1/models", "/v1/models", "/v1/models/", "/olla/proxy/v1/models"]
)
def test_the_list_has_the_seeds_shape(
    client: httpx.Client, upstreams: Upstreams, table: Table, path: str
) -> None:
    table(target_for(upstreams(LLAMA)))

    assert client.get(path).json() == {
        "object": "list",
        "data": [
            {
                "id": LLAMA,
                "object": "model",
                "created": 1705334400,
                "owned_by": "vllm-mlx",
                "root": LLAMA,
                "parent": None,
                "permission": [],
            }
        ],
    }


def test_a_model_on_two_endpoints_is_listed_once(
    client: httpx.Client, upstreams: Upstreams, table: Table
) -> None:
    table(target_for(upstreams("a", "b"), number=1), target_for(upstreams("b", "c"), number=2))

    assert ids(client, "/olla/vllm-mlx") == ["a", "b", "c"]


def test_models_of_endpoints_that_are_down_are_not_listed(
    client: httpx.Client, upstreams: Upstreams, table: Table
) -> None:
    table(target_for(upstreams("a"), number=1), target_for(upstreams("b"), number=2, status=Status.OFFLINE))

    assert ids(client, "") == ["a"]


def test_with_nothing_to_serve_the_list_is_empty(client: httpx.Client, table: Table) -> None:
    table()

    assert client.get("/olla/vllm-mlx/v1/models").json() == {"object": "list", "data": []}


def test_a_surface_lists_its_own_types(client: httpx.Client, upstreams: Upstreams, table: Table) -> None:
    table(
        target_for(upstreams("a"), number=1), target_for(upstreams("b"), number=2, type="openai-compatible")
    )

    assert ids(client, "/olla/vllm-mlx") == ["a"]
    assert ids(client, "/olla/openai-compatible") == ["b"]
    assert sorted(ids(client, "")) == ["a", "b"]


@pytest.mark.parametrize("written", [LLAMA, LLAMA.replace("/", "%2F"), LLAMA + "/"])
def test_a_model_is_found_by_an_id_with_a_slash(
    client: httpx.Client, upstreams: Upstreams, table: Table, written: str
) -> None:
    table(target_for(upstreams(LLAMA)))

    assert client.get(f"/olla/vllm-mlx/v1/models/{written}").json()["id"] == LLAMA


def test_a_model_that_nobody_serves_is_a_404(
    client: httpx.Client, upstreams: Upstreams, table: Table
) -> None:
    table(target_for(upstreams("a")))

    answer = client.get("/v1/models/nope")

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


def test_a_known_context_length_is_told(client: httpx.Client, upstream: FakeUpstream, table: Table) -> None:
    table(target_for(upstream, models=(ServedModel("m1", 1, 8192),)))

    assert client.get("/v1/models/m1").json()["max_model_len"] == 8192


def test_a_list_cannot_be_posted_to(client: httpx.Client, table: Table) -> None:
    table()

    answer = client.post("/v1/models", json={})

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


def test_every_answer_of_ours_carries_the_request_id(client: httpx.Client, table: Table) -> None:
    table()

    answer = client.get("/v1/models", headers={"X-Request-ID": "mine"})

    assert answer.headers["x-olla-request-id"] == answer.headers["x-request-id"] == "mine"
    assert answer.headers["x-olla-response-time"].endswith("ms")
