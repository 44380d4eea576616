"""A request goes to a backend and its answer comes back, as the seed page shows it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.fakes import answers
from tests.proxy.conftest import CHAT, chat_body, target_for

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from tests.fakes.upstream import FakeUpstream

    Table = Callable[..., None]


@pytest.fixture(autouse=True)
def _one_endpoint(table: Table, upstream: FakeUpstream) -> None:
    table(target_for(upstream))


def test_it_passes_a_chat_completion_through(client: httpx.Client, upstream: FakeUpstream) -> None:
    answer = client.post(CHAT, json=chat_body(temperature=0.7))

    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "MLX is fast."
    assert upstream.requests[0].json() == chat_body(temperature=0.7)


def test_it_passes_the_very_bytes_of_the_body(client: httpx.Client, upstream: FakeUpstream) -> None:
    body = b'{ "messages" : [],\n  "model":"m1", "unknown": 1.50, "emoji": "\xf0\x9f\x8d\x8e" }'

    client.post(CHAT, content=body, headers={"Content-Type": "application/json"})

    assert upstream.requests[0].body == body
    assert upstream.requests[0].header("content-length") == str(len(body))


@pytest.mark.parametrize("base", ["/olla/vllm-mlx/v1", "/olla/openai/v1", "/olla/proxy/v1", "/v1"])
@pytest.mark.parametrize("route", ["chat/completions", "completions", "embeddings"])
def test_every_surface_reaches_the_seeds_routes(
    client: httpx.Client, upstream: FakeUpstream, base: str, route: str
) -> None:
    answer = client.post(f"{base}/{route}", json=chat_body(prompt="x", input="x"))

    assert answer.status_code == 200
    assert answer.json()["model"] == "m1"
    assert [request.path for request in upstream.requests] == [f"/v1/{route}"]


def test_it_keeps_method_query_and_escapes_of_any_other_path(
    client: httpx.Client, upstream: FakeUpstream
) -> None:
    answer = client.put("/olla/vllm-mlx/a%2Fb/c%20d?x=%31&y=a+b", content=b"raw")

    assert answer.status_code == 404
    assert "no route" in answer.json()["error"]["message"]
    seen = upstream.requests[0]
    assert (seen.method, seen.path, seen.body) == ("PUT", "/a%2Fb/c%20d?x=%31&y=a+b", b"raw")


def test_a_backends_own_error_passes_unchanged(client: httpx.Client, upstream: FakeUpstream) -> None:
    upstream.answer("/v1/chat/completions", answers.error(422, "temperature must be positive"))

    answer = client.post(CHAT, json=chat_body(temperature=-1))

    assert answer.status_code == 422
    assert answer.json()["error"] == {
        "message": "temperature must be positive",
        "type": "backend_error",
        "param": None,
        "code": None,
    }


def test_it_says_how_the_request_was_handled(client: httpx.Client) -> None:
    answer = client.post(CHAT, json=chat_body())

    assert answer.headers["x-olla-endpoint"] == "mini-1"
    assert answer.headers["x-olla-backend-type"] == "vllm-mlx"
    assert answer.headers["x-olla-model"] == "m1"
    assert answer.headers["x-olla-attempts"] == "1"
    assert answer.headers["x-olla-routing-strategy"] == "strict"
    assert answer.headers["x-olla-routing-decision"] == "routed"
    assert answer.headers["x-olla-routing-reason"] == "model_found"
    assert re.fullmatch(r"\d+ms", answer.headers["x-olla-response-time"])
    assert answer.headers["x-olla-request-id"] == answer.headers["x-request-id"]


def test_the_request_id_of_the_client_goes_both_ways(client: httpx.Client, upstream: FakeUpstream) -> None:
    answer = client.post(CHAT, json=chat_body(), headers={"X-Request-ID": "trace-7"})

    assert answer.headers["x-olla-request-id"] == "trace-7"
    assert upstream.requests[0].header("x-olla-request-id") == "trace-7"
    assert upstream.requests[0].header("x-request-id") == "trace-7"


def test_the_backend_sees_where_the_request_comes_from_and_no_credentials(
    client: httpx.Client, upstream: FakeUpstream
) -> None:
    secrets = {"Authorization": "Bearer not-needed", "X-Api-Key": "k", "Cookie": "a=b", "X-Auth-Token": "t"}
    client.post(CHAT, json=chat_body(), headers=secrets)

    seen = upstream.requests[0]
    assert seen.header("host") == f"127.0.0.1:{upstream.port}"
    assert seen.header("x-forwarded-for") == "127.0.0.1"
    assert seen.header("x-real-ip") == "127.0.0.1"
    assert seen.header("x-forwarded-proto") == "http"
    assert seen.header("x-forwarded-host") == client.base_url.netloc.decode()
    assert seen.header("via") == "1.1 olla"
    assert not any(seen.header(name) for name in secrets)


def test_an_endpoints_own_headers_and_credential_win(
    client: httpx.Client, upstream: FakeUpstream, table: Table
) -> None:
    own = (("X-Team", "blue"), ("Authorization", "Bearer of-the-endpoint"))
    table(target_for(upstream, headers=own))

    client.post(CHAT, json=chat_body(), headers={"X-Team": "red", "Authorization": "Bearer of-the-client"})

    seen = upstream.requests[0]
    assert [value for name, value in seen.headers if name.lower() == b"x-team"] == [b"blue"]
    assert seen.header("authorization") == "Bearer of-the-endpoint"


def test_a_backend_cannot_speak_in_our_name(client: httpx.Client, upstream: FakeUpstream) -> None:
    invented = {"X-Olla-Endpoint": "spoofed", "Set-Cookie": "a=b", "X-Custom": "kept"}
    upstream.answer("/v1/chat/completions", answers.respond({"ok": True}, headers=invented))

    answer = client.post(CHAT, json=chat_body())

    assert answer.headers["x-olla-endpoint"] == "mini-1"
    assert answer.headers["x-custom"] == "kept"
    assert "set-cookie" not in answer.headers


def test_the_health_route_passes_a_backends_answer(client: httpx.Client) -> None:
    answer = client.get("/olla/vllm-mlx/health")

    assert answer.status_code == 200
    assert answer.json()["status"] == "healthy"
    assert answer.headers["x-olla-endpoint"] == "mini-1"


def test_a_preserved_path_comes_before_the_requests(
    client: httpx.Client, upstream: FakeUpstream, table: Table
) -> None:
    table(target_for(upstream, url=f"{upstream.url}/base/", preserve_path=True))

    client.post(CHAT, json=chat_body())

    assert upstream.requests[0].path == "/base/v1/chat/completions"


def test_a_head_request_gets_headers_and_the_connection_stays_usable(
    client: httpx.Client, upstream: FakeUpstream
) -> None:
    upstream.answer("/file", answers.raw(answers.head(200, {"Content-Length": 5000})))

    for _ in range(2):
        answer = client.head("/olla/vllm-mlx/file")
        assert answer.status_code == 200
        assert answer.headers["content-length"] == "5000"

    assert upstream.accepted_connections == 1


def test_answers_without_a_body_pass(client: httpx.Client, upstream: FakeUpstream) -> None:
    upstream.answer("/nothing", answers.raw(b"HTTP/1.1 204 No Content\r\n\r\n"))
    upstream.answer("/same", answers.raw(answers.head(304, {"ETag": '"1"', "Content-Length": 99})))

    assert client.get("/olla/vllm-mlx/nothing").status_code == 204
    assert client.get("/olla/vllm-mlx/same").headers["etag"] == '"1"'


def test_an_interim_answer_is_not_taken_for_the_answer(client: httpx.Client, upstream: FakeUpstream) -> None:
    upstream.answer(
        "/v1/chat/completions",
        answers.respond({"final": True}, before=[b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"]),
    )

    answer = client.post(CHAT, json=chat_body())

    assert answer.json() == {"final": True}
    assert "link" not in answer.headers
