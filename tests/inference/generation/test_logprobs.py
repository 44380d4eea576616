"""Log probabilities in the shapes that OpenAI prints, where a grammar, a bias or chance has its say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.inference.http.test_answers_over_http import chat, completion, events

if TYPE_CHECKING:
    import httpx

START = 1  # a special token, which is no text
CHANCE = {"temperature": 2, "seed": 3}


def no_number(name: str) -> Any:
    raise AssertionError(f"{name} is no JSON")


def choice_of(answer: httpx.Response) -> Any:
    return json.loads(answer.content, parse_constant=no_number)["choices"][0]


@pytest.mark.parametrize("stream", [False, True])
def test_a_token_that_may_not_come_has_the_least_logprob_and_the_answer_is_json(
    tiny_http: httpx.Client, *, stream: bool
) -> None:
    body = chat(logprobs=True, top_logprobs=5, guided_choice=["x"], stream=stream)
    answer = tiny_http.post("/v1/chat/completions", json=body)
    lines = answer.text.split("data: ")[1:-1] if stream else [answer.text]
    chunks = [json.loads(line, parse_constant=no_number)["choices"][0] for line in lines]
    (odds,) = [chunk["logprobs"]["content"] for chunk in chunks if chunk["logprobs"]]
    assert [token["token"] for token in odds] == ["x"]
    assert [other["logprob"] for other in odds[0]["top_logprobs"]] == [0.0, *[-9999.0] * 4]


@pytest.mark.parametrize("count", [0, 2])
def test_the_token_that_was_drawn_is_among_the_likeliest_of_a_completion(
    tiny_http: httpx.Client, count: int
) -> None:
    odds = choice_of(tiny_http.post("/v1/completions", json=completion(logprobs=count, **CHANCE)))["logprobs"]
    for token, logprob, likeliest in zip(
        odds["tokens"], odds["token_logprobs"], odds["top_logprobs"], strict=True
    ):
        assert likeliest[token] == logprob
        assert count <= len(likeliest) <= count + 1
    assert any(len(likeliest) == count + 1 for likeliest in odds["top_logprobs"])


def test_a_prompt_of_tokens_that_are_no_text_is_judged_as_well(tiny_http: httpx.Client) -> None:
    body = completion(prompt=[START, START, START], echo=True, logprobs=0, max_tokens=0)
    whole = choice_of(tiny_http.post("/v1/completions", json=body))
    parts = [
        event["choices"][0]
        for event in events(tiny_http.post("/v1/completions", json=body | {"stream": True}))
    ]
    assert whole["text"] == ""
    first, *others = whole["logprobs"]["token_logprobs"]
    assert first is None
    assert len(others) == 2
    assert all(logprob < 0 for logprob in others)
    assert [logprob for part in parts for logprob in part["logprobs"]["token_logprobs"]] == [first, *others]
