"""What a request bans, where a grammar or another ban closes the rest: then nothing may come."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import mlx.core as mx
import numpy as np
import pytest

from inference.generation.sampling import LEAST_LOGPROB, logprobs_of
from tests.inference.http.test_answers_over_http import chat, completion, refusal
from tests.inference.http.test_vllm_parameters import CHATS, COMPLETIONS, IDS, ask, tokens_of

CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    ({"guided_choice": ["word"], "bad_words": ["word"]}, "bad_words"),
    ({"guided_choice": ["word"], "allowed_token_ids": [300]}, "allowed_token_ids"),
    ({"guided_choice": ["word"], "allowed_token_ids": [300], "bad_words": ["word"]}, "allowed_token_ids"),
]
HOT = {"temperature": 1, "seed": 3, "top_p": 0.9}


@pytest.mark.parametrize("max_tokens", [1, 5])
@pytest.mark.parametrize("how", [{}, HOT, {**HOT, "xtc_probability": 1}])
@pytest.mark.parametrize(("fields", "param"), CONTRADICTIONS)
def test_an_answer_for_which_nothing_is_left_is_refused_by_the_name_of_the_ban(
    tiny_http: httpx.Client, fields: dict[str, Any], param: str, how: dict[str, Any], max_tokens: int
) -> None:
    for stream in (False, True):
        body = completion(max_tokens=max_tokens, logprobs=2, stream=stream, **fields, **how)
        error = refusal(tiny_http.post(COMPLETIONS, json=body), 400)
        assert (error["code"], error["param"]) == ("invalid_value", param)
        assert "of what the grammar of this request allows" in error["message"]
        chatting = chat(max_tokens=max_tokens, stream=stream, n=2, **fields, **how)
        assert refusal(tiny_http.post(CHATS, json=chatting), 400)["param"] == param


def test_an_answer_may_come_to_where_nothing_is_left(tiny_http: httpx.Client) -> None:
    """It ends there, and not before: what was said until then is good."""
    ((one,), (other,)) = (tokens_of(tiny_http, prompt=text) for text in ("word", " word"))
    assert tokens_of(tiny_http, prompt="word word") == [one, other]
    assert tokens_of(tiny_http, prompt="wordword") == [one, one]
    banned = {"allowed_token_ids": [one, other], "bad_words": ["word word", "wordword"], **IDS}
    short = ask(tiny_http, COMPLETIONS, completion(max_tokens=1, **banned))["choices"][0]
    assert short["token_ids"][0] in (one, other)
    error = refusal(tiny_http.post(COMPLETIONS, json=completion(max_tokens=2, **banned)), 400)
    assert (error["code"], error["param"]) == ("invalid_value", "allowed_token_ids")
    streamed = tiny_http.post(COMPLETIONS, json=completion(max_tokens=2, stream=True, **banned))
    assert "'allowed_token_ids' and 'bad_words' leave nothing to be said." in streamed.text


def test_a_bad_word_that_leaves_a_way_on_is_no_reason_to_refuse(tiny_http: httpx.Client) -> None:
    ((one,), (other,)) = (tokens_of(tiny_http, prompt=text) for text in ("word", " word"))
    banned = {"allowed_token_ids": [one, other], "bad_words": ["word word"]}
    choice = ask(tiny_http, COMPLETIONS, completion(max_tokens=5, **banned, **IDS))["choices"][0]
    assert choice["token_ids"][1:] == [one] * 4
    never_begun = {"allowed_token_ids": [other], "bad_words": ["the word"]}
    choice = ask(tiny_http, COMPLETIONS, completion(max_tokens=3, **never_begun, **IDS))["choices"][0]
    assert choice["token_ids"] == [other] * 3


def test_the_others_in_the_batch_go_on(tiny_http: httpx.Client) -> None:
    good = completion(max_tokens=24, temperature=1.2, seed=5, bad_words=["the"], **IDS)
    guided = completion(max_tokens=24, guided_regex="[0-9]{12}", bad_words=["word"])
    bad = completion(max_tokens=5, **CONTRADICTIONS[0][0])
    expected = [ask(tiny_http, COMPLETIONS, body)["choices"] for body in (good, guided)]
    with ThreadPoolExecutor(3) as pool:
        first, second, failed = pool.map(
            lambda body: tiny_http.post(COMPLETIONS, json=body), (good, guided, bad)
        )
    assert [answer.json()["choices"] for answer in (first, second)] == expected
    assert refusal(failed, 400)["param"] == "bad_words"


def test_a_repetition_penalty_of_0_is_none_as_in_mlx_lm(tiny_http: httpx.Client) -> None:
    """It is what mlx_lm.server has where a request says nothing."""
    body = completion(max_tokens=12, logit_bias={"300": 100, "301": 99})
    said = [
        ask(tiny_http, COMPLETIONS, {**body, "repetition_penalty": penalty})["choices"]
        for penalty in (0, 0.0, 1, 5)
    ]
    assert said[0] == said[1] == said[2] != said[3]


def test_log_probabilities_are_numbers_even_where_nothing_may_come() -> None:
    rows = mx.array([[-mx.inf] * 3, [0.0, -mx.inf, 0.0]])
    expected = [[LEAST_LOGPROB] * 3, [np.log(0.5), LEAST_LOGPROB, np.log(0.5)]]
    assert np.allclose(np.array(logprobs_of(rows)), expected)


def test_a_stream_that_has_begun_ends_with_the_error_and_not_with_a_banned_token(
    tiny_http: httpx.Client,
) -> None:
    body = completion(
        max_tokens=30, stream=True, guided_regex="[0-9]{3}word", bad_words=["word", "wor", "wo", "w"]
    )
    lines: list[str] = []
    with (
        tiny_http.stream("POST", COMPLETIONS, json={**body, **IDS}) as response,
        pytest.raises(httpx.RemoteProtocolError),  # cut, so that nobody takes it for a whole answer
    ):
        lines += response.iter_lines()
    *chunks, last = [json.loads(line.removeprefix("data: ")) for line in lines if line]
    assert (last["error"]["code"], last["error"]["param"]) == ("invalid_value", "bad_words")
    said = "".join(chunk["choices"][0]["text"] for chunk in chunks)
    assert re.fullmatch("[0-9]{1,3}", said)
