"""Each backend type behind the gateway: its prefixes, its paths, its health, its streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from endpoints.models import Endpoint, EndpointHealth
from endpoints.profiles import profile
from endpoints.routing import routing_table
from ollaproject.wire import clock
from tests.fakes import answers, servers
from tests.proxy.conftest import chat_body

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from tests.fakes.answers import Answer
    from tests.fakes.upstream import FakeUpstream

    Table = Callable[..., None]

pytestmark = pytest.mark.django_db(transaction=True)

WORDS = ["MLX", " is", " fast."]


def routed(upstream: FakeUpstream, backend_type: str, table: Table) -> str:
    """A stored, healthy endpoint of a type in the routing table. Returns the name of its first model."""
    upstream.become(servers.BY_TYPE[backend_type]())
    endpoint = Endpoint.objects.create(name="mini-1", url=upstream.url, type=backend_type)
    EndpointHealth.objects.filter(endpoint=endpoint).update(status="healthy")
    moment = clock.now()
    endpoint.models.create(name=upstream.models[0], created=1, first_seen_at=moment, last_seen_at=moment)
    table(*routing_table.build(1).targets)
    return upstream.models[0]


@pytest.mark.parametrize("backend_type", servers.BY_TYPE)
def test_requests_reach_the_path_where_the_type_has_it(
    client: httpx.Client, table: Table, upstream: FakeUpstream, backend_type: str
) -> None:
    model = routed(upstream, backend_type, table)
    chat_path = servers.BY_TYPE[backend_type]().chat_path

    for prefix in profile(backend_type).prefixes:
        answer = client.post(f"/olla/{prefix}/v1/chat/completions?a=1", json=chat_body(model))
        assert answer.json()["choices"][0]["message"]["content"] == "MLX is fast."
        assert answer.headers["x-olla-backend-type"] == backend_type
        assert upstream.requests[-1].path == f"{chat_path}?a=1"
    assert client.get(f"/olla/{profile(backend_type).prefixes[-1]}/health").status_code == 200
    assert upstream.requests[-1].path == profile(backend_type).health_path


def test_paths_of_the_types_own_are_left_alone(
    client: httpx.Client, table: Table, upstream: FakeUpstream
) -> None:
    routed(upstream, "docker-model-runner", table)

    assert client.get("/olla/dmr/engines/v1/models").status_code == 200
    assert client.post("/olla/dmr/v1/messages", json={"model": upstream.models[0]}).status_code == 200
    assert [request.path for request in upstream.requests] == ["/engines/v1/models", "/anthropic/v1/messages"]


def vllm_mlx_stream(model: str) -> Answer:
    return answers.sse(answers.chat_events(model, WORDS))


def mlx_lm_stream(model: str) -> Answer:
    """http.server speaks HTTP/1.0: no chunks, and a stream ends with its connection."""
    head = b"HTTP/1.0 200 OK\r\nServer: BaseHTTP/0.6 Python/3.12.4\r\nContent-type: text/event-stream\r\n"
    events = [b": keepalive 1/12\n\n", *answers.chat_events(model, WORDS)]
    return answers.raw(head + b"Cache-Control: no-cache\r\n\r\n", *events, answers.CLOSE)


def ollama_stream(model: str) -> Answer:
    """Each piece has its own second of `created` and repeats the role."""
    fixed = {"id": "chatcmpl-7", "object": "chat.completion.chunk", "system_fingerprint": "fp_ollama"}
    events = []
    for number, word in enumerate([*WORDS, ""]):
        choice = {
            "index": 0,
            "delta": {"role": "assistant", "content": word},
            "finish_reason": None if word else "stop",
        }
        events.append(
            answers.event({**fixed, "created": answers.CREATED + number, "model": model, "choices": [choice]})
        )
    return answers.sse([*events, b"data: [DONE]\n\n"])


@pytest.mark.parametrize(
    ("backend_type", "stream"),
    [("vllm-mlx", vllm_mlx_stream), ("mlx-lm", mlx_lm_stream), ("ollama", ollama_stream)],
)
def test_its_streams_come_through_byte_for_byte(
    client: httpx.Client,
    table: Table,
    upstream: FakeUpstream,
    backend_type: str,
    stream: Callable[[str], Answer],
) -> None:
    model = routed(upstream, backend_type, table)
    upstream.answer("/v1/chat/completions", stream(model))
    body = chat_body(model, stream=True, stream_options={"include_usage": True})
    direct = client.build_request("POST", f"{upstream.url}/v1/chat/completions", json=body)

    through = client.post(f"/olla/{backend_type}/v1/chat/completions", json=body)

    assert through.content == client.send(direct).content
    assert through.headers["content-type"].startswith("text/event-stream")
