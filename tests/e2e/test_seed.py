"""Every request of the API page that we answer to, against the real thing: gateway, checks, MLX model."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.e2e.gateway import CHAT_MODEL, EMBEDDING_MODEL

if TYPE_CHECKING:
    import httpx

    from tests.e2e.gateway import Gateway

pytestmark = [
    pytest.mark.model,
    pytest.mark.timeout(180),
    # Of what is asked here nothing reaches the database or the broker. Over PostgreSQL and Redis the SDKs of
    # test_clients ask the same.
    pytest.mark.parametrize("gateway", ["embedded"], indirect=True),
]

SENTENCES = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
# Published on the model's card.
SIMILARITIES = [[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]]


def assert_olla_headers(response: httpx.Response, *, model: str | None) -> None:
    assert response.headers["x-olla-endpoint"] == "local"
    assert response.headers["x-olla-backend-type"] == "vllm-mlx"
    assert re.fullmatch(r"\d+ms", response.headers["x-olla-response-time"])
    assert response.headers["x-olla-request-id"] == response.headers["x-request-id"]
    assert response.headers["x-olla-attempts"] == "1"
    assert response.headers.get("x-olla-model") == model
    if model:
        assert response.headers["x-olla-routing-strategy"] == "strict"
        assert response.headers["x-olla-routing-decision"] == "routed"
        assert response.headers["x-olla-routing-reason"] == "model_found"


def chat(**changes: Any) -> dict[str, Any]:
    return {
        "model": CHAT_MODEL,
        "messages": [
            {"role": "system", "content": "You are a helpful AI assistant."},
            {"role": "user", "content": "What is the capital of France?"},
        ],
        "temperature": 0,
        "max_tokens": 24,
        "stream": False,
        **changes,
    }


def test_health_is_the_backend_s_own(gateway: Gateway) -> None:
    with gateway.client() as client:
        response = client.get("/olla/vllm-mlx/health")

    assert response.status_code == 200
    assert response.json()["status"] == "healthy"
    assert_olla_headers(response, model=None)


def test_models_are_listed_in_the_seed_s_shape(gateway: Gateway) -> None:
    with gateway.client() as client:
        body = client.get("/olla/vllm-mlx/v1/models").json()

    assert body["object"] == "list"
    assert [model["id"] for model in body["data"]] == sorted([CHAT_MODEL, EMBEDDING_MODEL])
    for model in body["data"]:
        assert (
            model.items()
            >= {
                "object": "model",
                "owned_by": "vllm-mlx",
                "root": model["id"],
                "parent": None,
                "permission": [],
            }.items()
        )
        assert isinstance(model["created"], int)


def test_a_chat_is_answered_with_real_text(gateway: Gateway) -> None:
    with gateway.client() as client:
        response = client.post("/olla/vllm-mlx/v1/chat/completions", json=chat())

    body = response.json()
    assert response.status_code == 200, body
    assert re.fullmatch(r"chatcmpl-\w+", body["id"])
    assert body["object"] == "chat.completion"
    assert body["model"] == CHAT_MODEL
    choice = body["choices"][0]
    assert choice["index"] == 0
    assert choice["message"]["role"] == "assistant"
    assert "Paris" in choice["message"]["content"]
    assert choice["logprobs"] is None
    assert choice["finish_reason"] == "stop"
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["completion_tokens"] > 0
    assert_olla_headers(response, model=CHAT_MODEL)


def test_a_streamed_chat_is_the_same_chat_in_chunks(gateway: Gateway) -> None:
    with gateway.client() as client:
        whole = client.post("/olla/vllm-mlx/v1/chat/completions", json=chat()).json()
        with client.stream("POST", "/olla/vllm-mlx/v1/chat/completions", json=chat(stream=True)) as response:
            arrivals = list(response.iter_raw())

    assert response.headers["content-type"].startswith("text/event-stream")
    assert "content-length" not in response.headers
    assert_olla_headers(response, model=CHAT_MODEL)
    assert len(arrivals) > 3, "it came in one piece"
    events = b"".join(arrivals).decode().split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    choices = [chunk["choices"][0] for chunk in chunks]
    assert choices[0]["delta"]["role"] == "assistant"
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["stop"]
    assert choices[-1]["delta"] == {}
    assert all("logprobs" in choice and choice["index"] == 0 for choice in choices)
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    assert text == whole["choices"][0]["message"]["content"]


def test_a_text_is_completed(gateway: Gateway) -> None:
    request = {
        "model": CHAT_MODEL,
        "prompt": "Apple Silicon is designed for",
        "max_tokens": 20,
        "temperature": 0.8,
        "top_p": 0.95,
        "stream": False,
    }
    with gateway.client() as client:
        response = client.post("/olla/vllm-mlx/v1/completions", json=request)

    body = response.json()
    assert response.status_code == 200, body
    assert re.fullmatch(r"cmpl-\w+", body["id"])
    assert body["object"] == "text_completion"
    assert body["choices"][0].keys() == {"text", "index", "logprobs", "finish_reason"}
    assert body["choices"][0]["text"].strip()
    assert body["usage"]["completion_tokens"] <= 20


def test_embeddings_are_as_similar_as_published(gateway: Gateway) -> None:
    request = {"model": EMBEDDING_MODEL, "input": SENTENCES, "encoding_format": "float"}
    with gateway.client() as client:
        response = client.post("/olla/vllm-mlx/v1/embeddings", json=request)

    body = response.json()
    assert response.status_code == 200, body
    assert body["object"] == "list"
    assert [(item["object"], item["index"]) for item in body["data"]] == [("embedding", i) for i in range(3)]
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] > 0
    vectors = np.array([item["embedding"] for item in body["data"]])
    norms = np.linalg.norm(vectors, axis=1)
    similarities = (vectors @ vectors.T) / np.outer(norms, norms)
    np.testing.assert_allclose(similarities, SIMILARITIES, atol=5e-5)
    assert_olla_headers(response, model=EMBEDDING_MODEL)


@pytest.mark.parametrize("prefix", ["/v1", "/olla/openai/v1", "/olla/proxy/v1", "/olla/vllm-mlx/v1"])
def test_every_door_leads_to_the_model(gateway: Gateway, prefix: str) -> None:
    with gateway.client() as client:
        response = client.post(f"{prefix}/chat/completions", json=chat(max_tokens=2))

    assert response.status_code == 200, response.text
    assert_olla_headers(response, model=CHAT_MODEL)


def test_the_printed_curl_line_works_as_pasted(gateway: Gateway) -> None:
    line = next(line for line in gateway.output.splitlines() if line.startswith("curl "))

    answer = subprocess.run(line, shell=True, capture_output=True, text=True, check=True, timeout=60)  # noqa: S602

    assert "Paris" in json.loads(answer.stdout)["choices"][0]["message"]["content"]
