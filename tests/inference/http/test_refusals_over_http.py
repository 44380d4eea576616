"""What the model server refuses over HTTP, and in which words; and what its log says of each request."""

from __future__ import annotations

import gzip
import json
import time
from typing import TYPE_CHECKING, Any

import openai
import pytest

from tests.inference.conftest import TINY
from tests.inference.tiny_models import CONTEXT_LENGTH

if TYPE_CHECKING:
    import httpx
from tests.inference.http.test_answers_over_http import USER, chat, completion, refusal


def test_a_request_that_cannot_fit_is_refused_with_the_numbers(tiny_http: httpx.Client) -> None:
    error = refusal(tiny_http.post("/v1/completions", json=completion(max_tokens=CONTEXT_LENGTH)), 400)
    assert (error["code"], error["param"]) == ("context_length_exceeded", "prompt")
    assert str(CONTEXT_LENGTH) in error["message"]
    too_long = tiny_http.post("/v1/completions", json=completion(prompt=[5] * CONTEXT_LENGTH))
    assert refusal(too_long, 400)["code"] == "context_length_exceeded"


def test_a_model_that_is_not_served_is_named(tiny_client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        tiny_client.chat.completions.create(model="gpt-x", messages=USER)
    assert refused.value.code == "model_not_found"
    assert TINY in refused.value.message


def test_a_chat_server_says_that_it_makes_no_embeddings(tiny_client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="makes no embeddings"):
        tiny_client.embeddings.create(model=TINY, input="hi")


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([], "messages"),
        (["hi"], "messages[0]"),
        ([{"role": "user"}], "messages[0].content"),
        ([{"role": "robot", "content": "hi"}], "messages[0].role"),
        ([{"content": "hi"}], "messages[0].role"),
        ([*USER, {"role": "user", "content": [{"type": "image_url"}]}], "messages[1].content[0].type"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0].text"),
        ([{"role": "assistant", "content": "hi", "tool_calls": {}}], "messages[0].tool_calls"),
    ],
)
def test_messages_are_checked_one_by_one(tiny_http: httpx.Client, messages: Any, param: str) -> None:
    error = refusal(tiny_http.post("/v1/chat/completions", json=chat(messages=messages)), 400)
    assert error["param"] == param


@pytest.mark.parametrize("field", ["stop_token_ids", "logit_bias", "prompt"])
def test_a_token_that_the_model_does_not_have_is_refused(tiny_http: httpx.Client, field: str) -> None:
    value = {"stop_token_ids": [10**6], "logit_bias": {"1000000": 1}, "prompt": [10**6]}[field]
    assert (
        refusal(tiny_http.post("/v1/completions", json=completion(**{field: value})), 400)["param"] == field
    )


def test_an_unknown_path_is_404_in_the_shape_of_openai(tiny_http: httpx.Client) -> None:
    assert refusal(tiny_http.get("/v1/nothing"), 404)["code"] == "not_found"
    assert refusal(tiny_http.post("/", json={}), 404)["code"] == "not_found"


def test_a_wrong_method_says_which_is_right(tiny_http: httpx.Client) -> None:
    response = tiny_http.get("/v1/chat/completions")
    assert refusal(response, 405)["code"] == "method_not_allowed"
    assert response.headers["allow"] == "POST"


def test_a_compressed_body_is_refused_for_being_so(tiny_http: httpx.Client) -> None:
    packed = gzip.compress(json.dumps(completion()).encode())
    response = tiny_http.post("/v1/completions", content=packed, headers={"Content-Encoding": "gzip"})
    assert refusal(response, 415)["code"] == "unsupported_encoding"
    plain = {"Content-Encoding": "identity"}
    assert tiny_http.post("/v1/completions", json=completion(), headers=plain).status_code == 200


def logged(caplog: pytest.LogCaptureFixture, request_id: str) -> str:
    """The one line of a request. The server writes it after the answer, so it may take a moment."""
    deadline = time.monotonic() + 20
    while not (lines := [line for line in caplog.messages if line.startswith(f"{request_id} ")]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert len(lines) == 1
    return lines[0]


def test_a_request_is_one_line_of_numbers_in_the_log(
    tiny_http: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="inference.http.boundary"):
        answer = tiny_http.post(
            "/v1/completions", json=completion(prompt="A secret."), headers={"X-Request-ID": "r1"}
        )
        line = logged(caplog, "r1")
    tokens = answer.json()["usage"]["prompt_tokens"]
    assert line.startswith("r1 POST /v1/completions 200 ")
    assert f"prompt={tokens} cached=0 completion=24 ttft=" in line
    assert "secret" not in line
    assert answer.json()["choices"][0]["text"][:5] not in line


def test_a_path_cannot_begin_a_line_of_its_own_in_the_log(
    tiny_http: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="inference.http.boundary"):
        tiny_http.get("/nothing%0AERROR%20forged", headers={"X-Request-ID": "r2"})
        line = logged(caplog, "r2")
    assert "\n" not in line
    assert "/nothing%0AERROR%20forged 404" in line
