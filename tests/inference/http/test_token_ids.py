"""Token ids and judged prompts over HTTP, as vLLM has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.inference.http.test_answers_over_http import USER, chat, completion, events
from tests.inference.http.test_vllm_parameters import (
    CHATS,
    COMPLETIONS,
    EOS,
    IDS,
    ask,
    text_of,
    tokens_of,
)

if TYPE_CHECKING:
    import httpx


def test_a_completion_says_its_tokens(tiny_http: httpx.Client) -> None:
    body = completion(prompt=["One two.", "Three."], n=2, max_tokens=6, seed=3, temperature=1)
    answer = ask(tiny_http, COMPLETIONS, {**body, **IDS})
    assert "prompt_token_ids" not in answer
    prompts = [choice["prompt_token_ids"] for choice in answer["choices"]]
    assert prompts == [tokens_of(tiny_http, prompt=prompt) for prompt in body["prompt"] for _ in range(2)]
    for choice in answer["choices"]:
        assert len(choice["token_ids"]) == 6
        assert text_of(tiny_http, choice["token_ids"]) == choice["text"]
    assert set(ask(tiny_http, COMPLETIONS, body)["choices"][0]) == {
        *("text", "index", "logprobs", "finish_reason")
    }


def test_a_stream_says_its_tokens_as_they_come_and_the_prompts_with_the_first(
    tiny_http: httpx.Client,
) -> None:
    whole = ask(tiny_http, COMPLETIONS, completion(max_tokens=12, **IDS))["choices"][0]
    chunks = events(tiny_http.post(COMPLETIONS, json=completion(max_tokens=12, stream=True, **IDS)))
    first, *rest = [chunk["choices"][0] for chunk in chunks]
    assert first["prompt_token_ids"] == whole["prompt_token_ids"]
    assert not any("prompt_token_ids" in choice for choice in rest)
    assert [id_ for choice in (first, *rest) for id_ in choice["token_ids"]] == whole["token_ids"]


def test_a_chat_says_its_tokens_with_the_one_that_ends_it(tiny_http: httpx.Client) -> None:
    body = chat(max_tokens=12, logit_bias={str(EOS): 30}, min_tokens=5, **IDS)
    answer = ask(tiny_http, CHATS, body)
    said = answer["choices"][0]["token_ids"]
    assert said[-1] == EOS
    assert len(said) == answer["usage"]["completion_tokens"] == 6
    assert answer["prompt_token_ids"] == tokens_of(tiny_http, messages=USER)
    first, *rest = events(tiny_http.post(CHATS, json={**body, "stream": True}))
    assert first["prompt_token_ids"] == answer["prompt_token_ids"]
    assert not any("prompt_token_ids" in chunk for chunk in rest)
    streamed = [chunk["choices"][0].get("token_ids", []) for chunk in (first, *rest)]
    assert [id_ for ids in streamed for id_ in ids] == said


def test_a_prompt_is_judged_as_its_echo_is(tiny_http: httpx.Client) -> None:
    prompt = "One two three four."
    echo = completion(prompt=prompt, echo=True, max_tokens=1, logprobs=3)
    echoed = ask(tiny_http, COMPLETIONS, echo)["choices"][0]["logprobs"]
    body = completion(prompt=prompt, max_tokens=1, prompt_logprobs=3, n=2)
    choices = ask(tiny_http, COMPLETIONS, body)["choices"]
    judged = choices[0]["prompt_logprobs"]
    both = ask(tiny_http, COMPLETIONS, {**echo, "prompt_logprobs": 5})["choices"][0]
    assert all(len(odds) in (3, 4) for odds in both["logprobs"]["top_logprobs"][1:])  # with the one that came
    assert all(len(odds) in (5, 6) for odds in both["prompt_logprobs"][1:])
    tokens = tokens_of(tiny_http, prompt=prompt)
    assert judged[0] is None
    assert len(judged) == len(tokens)
    for place, (token, odds) in enumerate(zip(tokens[1:], judged[1:], strict=True), start=1):
        own = odds[str(token)]
        assert own["logprob"] == pytest.approx(echoed["token_logprobs"][place], abs=1e-4)
        assert own["decoded_token"] == echoed["tokens"][place]
        others = {id_: value for id_, value in odds.items() if id_ != str(token)}
        assert len(others) == 3 - (own["rank"] <= 3)
        assert all(
            (one["rank"] < own["rank"]) == (one["logprob"] > own["logprob"]) for one in others.values()
        )
    assert choices[0]["logprobs"] is None
    assert [list(odds or ()) for odds in choices[1]["prompt_logprobs"]] == [
        list(odds or ()) for odds in judged
    ]


def test_a_chats_prompt_is_judged_in_the_answer_itself(tiny_http: httpx.Client) -> None:
    answer = ask(tiny_http, CHATS, chat(max_tokens=1, prompt_logprobs=0, **IDS))
    nothing, *judged = answer["prompt_logprobs"]
    assert nothing is None
    assert [[*odds] for odds in judged] == [[str(id_)] for id_ in answer["prompt_token_ids"][1:]]
    assert all(one["rank"] >= 1 and one["logprob"] <= 0 for odds in judged for one in odds.values())
    streamed = events(tiny_http.post(CHATS, json=chat(max_tokens=1, prompt_logprobs=0, stream=True)))
    assert not any("prompt_logprobs" in chunk for chunk in streamed)


@pytest.mark.parametrize("path", [COMPLETIONS, CHATS])
def test_tokens_can_be_named_by_their_ids(tiny_http: httpx.Client, path: str) -> None:
    how: dict[str, Any] = {"max_tokens": 4, "return_tokens_as_token_ids": True, **IDS}
    logprobs: dict[str, Any] = {"logprobs": True, "top_logprobs": 2} if path == CHATS else {"logprobs": 2}
    choice = ask(tiny_http, path, (chat if path == CHATS else completion)(**how, **logprobs))["choices"][0]
    if path == CHATS:
        named = [one["token"] for one in choice["logprobs"]["content"]]
    else:
        named = choice["logprobs"]["tokens"]
        assert all(token in top for token, top in zip(named, choice["logprobs"]["top_logprobs"], strict=True))
    assert named == [f"token_id:{id_}" for id_ in choice["token_ids"]]
