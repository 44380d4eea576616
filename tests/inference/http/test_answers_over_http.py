"""The model server over HTTP: shapes, streams, stop strings, errors; with the openai SDK where it can."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.inference.conftest import TINY
from tests.inference.tiny_models import CONTEXT_LENGTH

if TYPE_CHECKING:
    import httpx
    import openai

USER: Any = [{"role": "user", "content": "Say something."}]


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": TINY, "messages": USER, "temperature": 0, "max_tokens": 24, **fields}


def completion(**fields: Any) -> dict[str, Any]:
    return {"model": TINY, "prompt": "Say something.", "temperature": 0, "max_tokens": 24, **fields}


def events(response: httpx.Response) -> list[Any]:
    """The payloads of a stream, which must end with [DONE]."""
    *chunks, done, nothing = response.text.split("\n\n")
    assert (done, nothing) == ("data: [DONE]", "")
    return [json.loads(chunk.removeprefix("data: ")) for chunk in chunks]


def refusal(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def test_chat_has_the_shape_of_the_seed(tiny_http: httpx.Client) -> None:
    answer = tiny_http.post("/v1/chat/completions", json=chat()).json()
    assert list(answer) == ["id", "object", "created", "model", "choices", "usage"]
    assert answer["id"].startswith("chatcmpl-")
    assert (answer["object"], answer["model"]) == ("chat.completion", TINY)
    (choice,) = answer["choices"]
    assert list(choice) == ["index", "message", "logprobs", "finish_reason"]
    assert (choice["index"], choice["logprobs"], choice["finish_reason"]) == (0, None, "length")
    assert list(choice["message"]) == ["role", "content"]
    usage = answer["usage"]
    assert usage["completion_tokens"] == 24
    assert usage["total_tokens"] == usage["prompt_tokens"] + 24


def test_a_chat_stream_has_the_shape_of_the_seed(tiny_http: httpx.Client) -> None:
    response = tiny_http.post("/v1/chat/completions", json=chat(stream=True))
    assert response.headers["content-type"] == "text/event-stream"
    assert response.headers["cache-control"] == "no-cache"
    first, *middle, last = events(response)
    assert list(first) == ["id", "object", "created", "model", "choices"]
    assert first["object"] == "chat.completion.chunk"
    delta = {"index": 0, "logprobs": None, "finish_reason": None}
    assert first["choices"] == [{**delta, "delta": {"role": "assistant"}}]
    assert all(list(chunk["choices"][0]["delta"]) == ["content"] for chunk in middle)
    assert last["choices"] == [{**delta, "delta": {}, "finish_reason": "length"}]
    assert len({(chunk["id"], chunk["created"]) for chunk in (first, *middle, last)}) == 1


def test_a_completion_has_the_shape_of_the_seed(tiny_http: httpx.Client) -> None:
    answer = tiny_http.post("/v1/completions", json=completion()).json()
    assert list(answer) == ["id", "object", "created", "model", "choices", "usage"]
    assert answer["id"].startswith("cmpl-")
    assert answer["object"] == "text_completion"
    assert list(answer["choices"][0]) == ["text", "index", "logprobs", "finish_reason"]


def test_models_have_the_shape_of_the_seed(tiny_http: httpx.Client) -> None:
    listed = tiny_http.get("/v1/models").json()
    (model,) = listed["data"]
    created = model.pop("created")
    assert isinstance(created, int)
    assert listed["object"] == "list"
    assert model == {
        "id": TINY,
        "object": "model",
        "owned_by": "vllm-mlx",
        "root": TINY,
        "parent": None,
        "permission": [],
        "max_model_len": CONTEXT_LENGTH,
    }
    assert tiny_http.get("/v1/models/").json() == tiny_http.get("/v1/models").json()
    assert tiny_http.get(f"/v1/models/{TINY}").json() == {**model, "created": created}
    assert refusal(tiny_http.get("/v1/models/some/other"), 404)["code"] == "model_not_found"


def test_health_has_the_shape_of_the_seed(tiny_http: httpx.Client) -> None:
    response = tiny_http.get("/health")
    assert response.status_code == 200
    health = response.json()
    assert health.pop("idle_seconds") >= 0  # since its last request, for whoever unloads what is not used
    assert health == {"status": "healthy", "model_loaded": True, "model_name": TINY}


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_a_stream_says_what_a_whole_answer_says(tiny_client: openai.OpenAI, seed: int) -> None:
    fields: dict[str, Any] = {"model": TINY, "messages": USER, "max_tokens": 60, "seed": seed}
    whole = tiny_client.chat.completions.create(**fields).choices[0].message.content
    chunks = tiny_client.chat.completions.create(**fields, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole


def test_usage_comes_in_an_extra_last_chunk_when_asked_for(tiny_http: httpx.Client) -> None:
    body = chat(stream=True, stream_options={"include_usage": True})
    *chunks, last = events(tiny_http.post("/v1/chat/completions", json=body))
    assert all(chunk["usage"] is None for chunk in chunks)
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 24
    # Asked again, for only then both have found the same in the prompt cache.
    *_, last = events(tiny_http.post("/v1/chat/completions", json=body))
    whole = tiny_http.post("/v1/chat/completions", json=chat()).json()
    assert last["usage"] == whole["usage"]


def test_a_stop_string_ends_the_answer_and_is_not_shown(tiny_http: httpx.Client) -> None:
    text = tiny_http.post("/v1/completions", json=completion()).json()["choices"][0]["text"]
    for start in range(1, len(text) - 4, 5):
        stop = text[start : start + 4]
        body = completion(stop=[stop, "never said"])
        whole = tiny_http.post("/v1/completions", json=body).json()
        streamed = events(tiny_http.post("/v1/completions", json={**body, "stream": True}))
        expected = text[: text.index(stop)]
        assert whole["choices"][0]["text"] == expected
        assert "".join(event["choices"][0]["text"] for event in streamed) == expected
        assert whole["choices"][0]["finish_reason"] == "stop"
        assert streamed[-1]["choices"][0]["finish_reason"] == "stop"
        assert whole["usage"]["completion_tokens"] <= 24


def test_a_seed_gives_the_same_answer_again(tiny_client: openai.OpenAI) -> None:
    def answer(seed: int) -> str | None:
        made = tiny_client.chat.completions.create(
            model=TINY, messages=USER, seed=seed, max_tokens=20, temperature=1.5
        )
        return made.choices[0].message.content

    assert answer(1) == answer(1)
    assert answer(1) != answer(2)


def test_n_choices_differ_and_each_one_is_reproducible(tiny_client: openai.OpenAI) -> None:
    def answers() -> list[str | None]:
        made = tiny_client.chat.completions.create(
            model=TINY, messages=USER, n=3, seed=9, max_tokens=10, temperature=1.5
        )
        assert [choice.index for choice in made.choices] == [0, 1, 2]
        return [choice.message.content for choice in made.choices]

    assert len(set(answers())) == 3
    assert answers() == answers()


def test_choices_of_a_stream_carry_their_index(tiny_http: httpx.Client) -> None:
    chunks = events(tiny_http.post("/v1/chat/completions", json=chat(n=2, stream=True, temperature=1)))
    finished = [chunk["choices"][0] for chunk in chunks if chunk["choices"][0]["finish_reason"]]
    assert sorted(choice["index"] for choice in finished) == [0, 1]


def test_prompts_in_a_list_are_answered_in_their_order(tiny_http: httpx.Client) -> None:
    prompts = ["One.", "Two two.", "Three three three."]
    together = tiny_http.post("/v1/completions", json=completion(prompt=prompts)).json()
    alone = [tiny_http.post("/v1/completions", json=completion(prompt=prompt)).json() for prompt in prompts]
    assert [choice["index"] for choice in together["choices"]] == [0, 1, 2]
    texts = [choice["text"] for choice in together["choices"]]
    assert texts == [answer["choices"][0]["text"] for answer in alone]
    assert together["usage"]["prompt_tokens"] == sum(one["usage"]["prompt_tokens"] for one in alone)


def test_a_prompt_may_be_token_ids(tiny_http: httpx.Client) -> None:
    answer = tiny_http.post("/v1/completions", json=completion(prompt=[100, 200, 300])).json()
    assert answer["usage"]["prompt_tokens"] == 3


def test_echo_puts_the_prompt_before_the_answer(tiny_http: httpx.Client) -> None:
    plain = tiny_http.post("/v1/completions", json=completion()).json()["choices"][0]["text"]
    echoed = tiny_http.post("/v1/completions", json=completion(echo=True)).json()["choices"][0]["text"]
    chunks = events(tiny_http.post("/v1/completions", json=completion(echo=True, stream=True)))
    assert echoed == "Say something." + plain
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == echoed


def test_echo_with_logprobs_judges_the_prompt_too(tiny_http: httpx.Client) -> None:
    body = completion(echo=True, logprobs=2, n=2)
    whole = tiny_http.post("/v1/completions", json=body).json()["choices"]
    streamed = events(tiny_http.post("/v1/completions", json={**body, "stream": True}))
    assert [choice["text"][:14] for choice in whole] == ["Say something."] * 2
    for choice in whole:
        odds = choice["logprobs"]
        assert "".join(odds["tokens"]) == choice["text"]
        assert odds["text_offset"] == [len("".join(odds["tokens"][:n])) for n in range(len(odds["tokens"]))]
        assert (odds["token_logprobs"][0], odds["top_logprobs"][0]) == (None, None)
        assert all(value < 0 for value in odds["token_logprobs"][1:])
        assert all(2 <= len(likeliest) <= 3 for likeliest in odds["top_logprobs"][1:])
        parts = [event["choices"][0] for event in streamed if event["choices"][0]["index"] == choice["index"]]
        assert "".join(part["text"] for part in parts) == choice["text"]
        for name, values in odds.items():
            assert [value for part in parts for value in part["logprobs"][name]] == values


def test_chat_logprobs_spell_the_answer(tiny_http: httpx.Client) -> None:
    body = chat(logprobs=True, top_logprobs=2)
    choice = tiny_http.post("/v1/chat/completions", json=body).json()["choices"][0]
    content = choice["logprobs"]["content"]
    assert len(content) == 24
    spelled = b"".join(bytes(token["bytes"]) for token in content)
    assert spelled.decode(errors="replace") == choice["message"]["content"]
    for token in content:
        assert len(token["top_logprobs"]) == 2
        assert token["top_logprobs"][0]["logprob"] == pytest.approx(token["logprob"])  # greedy
    streamed = events(tiny_http.post("/v1/chat/completions", json={**body, "stream": True}))
    parts = [chunk["choices"][0]["logprobs"] for chunk in streamed]
    assert [token["bytes"] for part in parts if part for token in part["content"]] == [
        token["bytes"] for token in content
    ]


def test_logprobs_leave_out_the_tokens_of_a_stop_string(tiny_http: httpx.Client) -> None:
    whole = tiny_http.post("/v1/completions", json=completion(logprobs=1)).json()["choices"][0]
    offset = whole["logprobs"]["text_offset"][5]
    stop = whole["text"][offset : offset + 6]
    cut = tiny_http.post("/v1/completions", json=completion(logprobs=1, stop=stop)).json()["choices"][0]
    assert cut["text"] == whole["text"][: whole["text"].index(stop)]
    assert all(start < len(cut["text"]) for start in cut["logprobs"]["text_offset"])
    assert len(cut["logprobs"]["tokens"]) == len(cut["logprobs"]["token_logprobs"])


def test_text_parts_and_the_developer_role_read_as_plain_text(tiny_http: httpx.Client) -> None:
    plain = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say something."}]
    parts = [
        {"role": "developer", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "Say "}, {"type": "text", "text": "something."}],
        },
    ]
    first, second = (
        tiny_http.post("/v1/chat/completions", json=chat(messages=messages)).json()
        for messages in (plain, parts)
    )
    assert first["choices"] == second["choices"]
    assert first["usage"]["prompt_tokens"] == second["usage"]["prompt_tokens"]


def test_the_request_id_is_echoed(tiny_http: httpx.Client) -> None:
    assert tiny_http.get("/health", headers={"X-Request-ID": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert tiny_http.get("/nothing").headers["x-request-id"].startswith("req_")
