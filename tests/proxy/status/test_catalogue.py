"""`/olla/models` and the statistics of models: every field of the contract, true for what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from endpoints.choices import Status
from endpoints.models import Endpoint, EndpointHealth
from endpoints.routing import routing_table
from endpoints.routing.snapshot import Alias, Snapshot, install
from ollaproject.wire import clock
from tests.fakes import answers
from tests.proxy.conftest import CHAT, chat_body

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from tests.fakes.upstream import FakeUpstream

    Table = Callable[..., None]

pytestmark = pytest.mark.django_db(transaction=True)

LLAMA, EMBEDDING = "mlx-community/Llama-3.2-3B-Instruct-4bit", "nomic-embed-text:latest"


@pytest.fixture
def fleet(table: Table, upstream: FakeUpstream) -> Endpoint:
    """A healthy vllm-mlx with a Llama; an Ollama, down, with the same and an embedding model; an alias."""
    table()  # what is installed below goes with the test
    mini = Endpoint.objects.create(name="mini-1", url=upstream.url, type="vllm-mlx")
    studio = Endpoint.objects.create(name="studio", url="http://127.0.0.1:9", type="ollama")
    moment = clock.now()
    seen = {"created": 1705334400, "first_seen_at": moment, "last_seen_at": moment}
    mini.models.create(name=LLAMA, max_model_len=8192, **seen)
    studio.models.create(name=LLAMA, **seen)
    studio.models.create(
        name=EMBEDDING,
        family="nomic-bert",
        parameter_size="137M",
        quantization="F16",
        size_bytes=274302450,
        is_loaded=True,
        **seen,
    )
    EndpointHealth.objects.filter(endpoint=mini).update(status=Status.HEALTHY)
    EndpointHealth.objects.filter(endpoint=studio).update(status=Status.OFFLINE)
    install(Snapshot(1, routing_table.build(1).targets, {"small": Alias((LLAMA,))}))
    return mini


def ids(client: httpx.Client, query: str) -> list[str]:
    return [each["id"] for each in client.get(f"/olla/models{query}").json()["data"]]


def test_every_model_is_there_once_with_all_that_is_known(client: httpx.Client, fleet: Endpoint) -> None:
    listed = client.get("/olla/models").json()

    assert listed["object"] == "list"
    llama = listed["data"][0]
    assert (llama["id"], llama["object"], llama["owned_by"]) == (LLAMA, "model", "olla")
    assert llama["created"] == 1705334400
    assert llama["olla"] == {
        "family": "llama",
        "variant": "3.2",
        "parameter_size": "3B",
        "quantization": "4bit",
        "max_context_length": 8192,
        "aliases": ["small"],
        "availability": [
            {"endpoint": "mini-1", "state": "available"},
            {"endpoint": "studio", "state": "offline"},
        ],
        "capabilities": ["chat", "completion", "tools"],
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [LLAMA, EMBEDDING]),
        ("?endpoint=mini-1", [LLAMA]),
        ("?family=llama", [LLAMA]),
        ("?type=ollama", [LLAMA, EMBEDDING]),
        ("?available=true", [LLAMA]),
        ("?available=false", [EMBEDDING]),
        ("?capability=embeddings", [EMBEDDING]),
        ("?capability=tools&available=true&endpoint=studio", [LLAMA]),
        ("?family=qwen", []),
    ],
)
def test_filters_hold_together(
    client: httpx.Client, fleet: Endpoint, query: str, expected: list[str]
) -> None:
    assert ids(client, query) == expected


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("?format=xml", "format"),
        ("?colour=red", "colour"),
        ("?type=pdp11", "type"),
        ("?available=no", "available"),
    ],
)
def test_a_filter_that_there_is_not_is_refused(
    client: httpx.Client, fleet: Endpoint, query: str, param: str
) -> None:
    answer = client.get(f"/olla/models{query}")

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_the_formats_of_the_clients(client: httpx.Client, fleet: Endpoint) -> None:
    openai = client.get("/olla/models?format=openai").json()["data"][0]
    seed = client.get("/olla/models?format=vllm-mlx").json()["data"][0]

    assert openai == {"id": LLAMA, "object": "model", "created": 1705334400, "owned_by": "vllm-mlx"}
    assert (seed["owned_by"], seed["root"], seed["permission"]) == ("mlx-community", LLAMA, [])


@pytest.mark.parametrize("asked", [EMBEDDING, f"{EMBEDDING}/", EMBEDDING.replace(":", "%3A")])
def test_one_model_by_its_name(client: httpx.Client, fleet: Endpoint, asked: str) -> None:
    found = client.get(f"/olla/models/{asked}").json()

    assert (found["id"], found["parameter_count"], found["format"]) == (EMBEDDING, 137_000_000, "gguf")
    assert (found["total_disk_size"], found["loaded_endpoints"]) == (274302450, [])
    assert found["endpoints"] == [
        {"endpoint": "studio", "type": "ollama", "state": "offline", "max_context_length": None}
    ]


@pytest.mark.parametrize("asked", [LLAMA, LLAMA.replace("/", "%2F"), "small"])
def test_names_have_slashes_and_aliases(client: httpx.Client, fleet: Endpoint, asked: str) -> None:
    assert client.get(f"/olla/models/{asked}").json()["id"] == LLAMA


def test_an_unknown_model_is_a_404_that_lists_those_there_are(client: httpx.Client, fleet: Endpoint) -> None:
    answer = client.get("/olla/models/nobody/knows")

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert LLAMA in answer.json()["error"]["message"]


def test_the_status_of_models_has_its_fields(client: httpx.Client, fleet: Endpoint) -> None:
    plain = client.get("/internal/status/models").json()
    detailed = client.get("/internal/status/models?detailed=true&group=family").json()

    assert (plain["total_models"], plain["total_families"], plain["total_endpoints"]) == (2, 2, 2)
    assert plain["models_by_family"] == {"llama": [LLAMA], "nomic": [EMBEDDING]}
    assert "model_groups" not in plain
    shown = next(each for each in plain["recent_models"] if each["name"] == EMBEDDING)
    assert (shown["type"], shown["size"], shown["params"], shown["quant"]) == (
        "ollama",
        "261.6 MB",
        "137M",
        "F16",
    )
    assert (shown["endpoints"], shown["capabilities"]) == (["studio"], ["embeddings"])
    assert shown["endpoint_ids"] == [str(Endpoint.objects.get(name="studio").pk)]
    assert shown["last_seen"].endswith("s ago")
    assert detailed["model_groups"][0] == {
        "family": "llama",
        "models": [LLAMA],
        "endpoints": ["mini-1", "studio"],
        "model_count": 1,
    }


def test_the_statistics_of_models_are_what_happened(
    client: httpx.Client, fleet: Endpoint, upstream: FakeUpstream
) -> None:
    size = len(client.post(CHAT, json=chat_body(LLAMA)).content)
    size += len(client.post(CHAT, json=chat_body("small")).content)
    upstream.answer("/v1/chat/completions", answers.error(500, "out of memory"))
    client.post(CHAT, json=chat_body(LLAMA))

    told = client.get("/internal/stats/models").json()

    shown: dict[str, Any] = told["models"][0]
    assert (shown["name"], shown["total_requests"]) == (LLAMA, 3)
    assert (shown["successful_requests"], shown["failed_requests"]) == (2, 1)
    assert (shown["success_rate"], shown["unique_clients"]) == ("66.7%", 1)
    assert (shown["prompt_tokens"], shown["completion_tokens"]) == (10, 6)
    assert (shown["routing_hits"], shown["routing_misses"], shown["routing_fallbacks"]) == (3, 0, 0)
    assert shown["ttft_p50_ms"] <= shown["ttft_p95_ms"]
    assert told["summary"]["most_popular_model"] == LLAMA
    assert (told["summary"]["total_requests"], told["summary"]["active_models"]) == (3, 1)
    assert size > 0


def test_the_statistics_of_translators_have_every_format(client: httpx.Client, fleet: Endpoint) -> None:
    body = {"model": LLAMA, "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}
    client.post("/olla/anthropic/v1/messages", json=body)

    told = client.get("/internal/stats/translators").json()

    shown = next(each for each in told["translators"] if each["translator_name"] == "anthropic")
    assert (shown["total_requests"], shown["streaming_requests"], shown["non_streaming_requests"]) == (
        1,
        0,
        1,
    )
    assert told["summary"]["active_translators"] == 1


def test_sticky_sessions_say_whether_they_are_on(client: httpx.Client) -> None:
    assert client.get("/internal/stats/sticky").json()["enabled"] is False


def test_the_process_tells_of_itself(client: httpx.Client) -> None:
    told = client.get("/internal/process").json()

    assert told["memory"]["resident_bytes"] > 10_000_000
    assert told["tasks"]["health_status"] == "HEALTHY"
    assert told["runtime"]["python_version"].startswith("3.")
    assert {"garbage_collection", "threads", "allocations"} <= set(told)
