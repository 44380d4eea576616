"""Every parameter that clients send is honoured or refused by its name: one line for each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from inference.http.refused import REFUSED, REFUSED_ON_COMPLETIONS
from tests.inference.conftest import TINY

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

Json = dict[str, Any]
PROMPT = "Say something."
TOKENS = 8
EOS, ONE, OTHER = 2, 300, 301
PUSHED = {"logit_bias": {str(ONE): 100, str(OTHER): 99}}
"""It says ONE for ever, unless something speaks for OTHER."""
ENDING = {"logit_bias": {str(EOS): 100}}
HOT = {"temperature": 2, "seed": 7}
LIKELY = {
    "logit_bias": {str(ONE): 14, str(OTHER): 11.5},
    "temperature": 1,
    "seed": 7,
    "return_token_ids": True,
}
"""ONE comes nine times out of ten, and OTHER half of the other times."""
STERN = {"repetition_penalty": 10, "max_tokens": 20}
LINE = {"logit_bias": {str(token): 100 - token % 10 for token in range(ONE, ONE + 5)}}
"""It says these one after another, as far as a penalty drives it."""


class Case(NamedTuple):
    """`given` is sent with and without `fields`: `holds` of the two answers, that with `fields` first."""

    name: str
    fields: Json
    holds: Callable[[Json, Json], bool]
    given: Json = {}


def text(answer: Json) -> str:
    return str(answer["choices"][0]["text"])


def tokens(answer: Json) -> int:
    return int(answer["usage"]["completion_tokens"])


def end(answer: Json) -> str:
    return str(answer["choices"][0]["finish_reason"])


def differs(with_it: Json, without: Json) -> bool:
    return text(with_it) != text(without)


def is_greedy(with_it: Json, without: Json) -> bool:
    """Hot as it is, it says the likeliest: what follows the same prompt at temperature 0."""
    return text(with_it) == GREEDY["text"] and differs(with_it, without)


def stops_at_once(with_it: Json, _: Json) -> bool:
    return (text(with_it), end(with_it), with_it["choices"][0]["stop_reason"]) == ("", "stop", ONE)


def says_only_one(with_it: Json, without: Json) -> bool:
    return set(with_it["choices"][0]["token_ids"]) == {ONE} and differs(with_it, without)


def never_says_one(with_it: Json, without: Json) -> bool:
    return ONE not in with_it["choices"][0]["token_ids"] and ONE in without["choices"][0]["token_ids"]


def scores(with_it: Json, without: Json) -> bool:
    """It says nothing, and judges the prompt as it does when it goes on."""
    odds, longer = (answer["choices"][0]["logprobs"] for answer in (with_it, without))
    known = len(odds["tokens"])
    assert odds["tokens"] == longer["tokens"][:known]
    assert odds["token_logprobs"][1:] == pytest.approx(longer["token_logprobs"][1:known], abs=1e-4)
    return (text(with_it), tokens(with_it), end(with_it)) == (PROMPT, 0, "length")


GREEDY: dict[str, str] = {}
HONOURED = [
    Case("max_tokens", {"max_tokens": 3}, lambda a, b: (tokens(a), tokens(b)) == (3, TOKENS)),
    Case("max_completion_tokens", {"max_completion_tokens": 3}, lambda a, _: tokens(a) == 3),
    Case("temperature", {"temperature": 0}, is_greedy, HOT),
    Case("top_k", {"top_k": 1}, is_greedy, HOT),
    Case("a large top_k", {"top_k": 2**70}, lambda a, _: tokens(a) == TOKENS, HOT),
    Case("top_p", {"top_p": 1e-6}, is_greedy, HOT),
    Case("min_p", {"min_p": 1}, is_greedy, HOT),
    Case("seed", {"seed": 8}, differs, HOT),
    Case("seed again", {"seed": 7}, lambda a, b: text(a) == text(b), HOT),
    Case("frequency_penalty", {"frequency_penalty": 2}, differs, PUSHED),
    Case("presence_penalty", {"presence_penalty": 2}, differs, PUSHED),
    Case("repetition_penalty", {"repetition_penalty": 1.5}, differs, PUSHED),
    Case("no repetition_penalty", {"repetition_penalty": 0}, lambda a, b: text(a) == text(b)),
    Case("repetition_context_size", {"repetition_context_size": 1}, differs, STERN),
    Case("presence_context_size", {"presence_context_size": 1}, differs, LINE | {"presence_penalty": 2}),
    Case("frequency_context_size", {"frequency_context_size": 1}, differs, LINE | {"frequency_penalty": 2}),
    Case("min_tokens_to_keep", {"min_tokens_to_keep": 50}, differs, HOT | {"min_p": 1}),
    Case("top_a", {"top_a": 1}, says_only_one, LIKELY | {"temperature": 1.3}),
    Case("typical_p", {"typical_p": 0.01}, differs, HOT),
    Case("xtc", {"xtc_probability": 1, "xtc_threshold": 0.01}, never_says_one, LIKELY),
    Case("xtc_threshold", {"xtc_threshold": 0.01}, differs, LIKELY | {"xtc_probability": 1}),
    Case("logit_bias", PUSHED, differs),
    Case("allowed_token_ids", {"allowed_token_ids": [OTHER]}, differs, PUSHED),
    Case("n", {"n": 3}, lambda a, b: (len(a["choices"]), tokens(a)) == (3, 3 * tokens(b))),
    Case("ignore_eos", {"ignore_eos": True}, lambda a, b: (end(a), end(b)) == ("length", "stop"), ENDING),
    Case("min_tokens", {"min_tokens": 4}, lambda a, b: tokens(a) == 5 and tokens(b) == 1, ENDING),
    Case("stop_token_ids", {"stop_token_ids": [ONE]}, stops_at_once, PUSHED),
    Case("logprobs", {"logprobs": 2}, lambda a, _: len(a["choices"][0]["logprobs"]["tokens"]) == TOKENS),
    Case("echo", {"echo": True}, lambda a, b: text(a) == PROMPT + text(b)),
    Case("echo alone", {"echo": True, "max_tokens": 0}, lambda a, _: (text(a), tokens(a)) == (PROMPT, 0)),
    Case("score", {"max_tokens": 0}, scores, {"echo": True, "logprobs": 2}),
    Case("prompt as ids", {"prompt": [5, 6, 7]}, lambda a, _: a["usage"]["prompt_tokens"] == 3),
    Case("several prompts", {"prompt": ["One.", "Two."]}, lambda a, _: len(a["choices"]) == 2),
    Case("several of ids", {"prompt": [[5], [6, 7]]}, lambda a, _: a["usage"]["prompt_tokens"] == 3),
    Case("regex", {"guided_regex": "[0-9]{3}"}, lambda a, _: text(a).isdigit()),
    Case("choice", {"structured_outputs": {"choice": ["no"]}}, lambda a, _: text(a) == "no"),
    Case("user", {"user": "u", "metadata": {"a": "b"}, "never_heard_of": 1}, lambda a, b: text(a) == text(b)),
    Case("best_of", {"best_of": 1}, lambda a, b: text(a) == text(b)),
]
OUT_OF_RANGE: dict[str, Any] = {
    "max_tokens": 0,  # but with `echo`
    "max_completion_tokens": 0,
    "add_special_tokens": "yes",
    "temperature": 2.1,
    "top_p": 1.1,
    "top_k": -2,
    "min_p": -0.1,
    "seed": "one",
    "frequency_penalty": 3,
    "presence_penalty": -3,
    "repetition_penalty": 0.001,
    "repetition_context_size": -1,
    "presence_context_size": 0.5,
    "frequency_context_size": -1,
    "min_tokens_to_keep": 0,
    "top_a": 1.1,
    "typical_p": -0.1,
    "xtc_probability": 1.1,
    "xtc_threshold": 0.6,
    "allowed_token_ids": [],
    "bad_words": [""],
    "include_stop_str_in_output": "yes",
    "prompt_logprobs": -1,
    "return_token_ids": 1,
    "return_tokens_as_token_ids": 1,
    "skip_special_tokens": 0,
    "spaces_between_special_tokens": 0,
    "thinking_token_budget": -2,
    "truncate_prompt_tokens": 0,
    "truncation_side": "middle",
    "logit_bias": {"300": 101},
    "n": 17,
    "ignore_eos": 1,
    "min_tokens": 17,  # more than it may say
    "stop_token_ids": "a",
    "logprobs": 6,
    "echo": "yes",
    "prompt": [],
    "stop": ["x"] * 17,
    "stream": "yes",
    "stream_options": {"include_usage": True},
    "best_of": 2,
    "guided_regex": "[",
    "structured_outputs": {"regex": "a", "choice": ["b"]},
}


def ask(http: httpx.Client, fields: Json) -> Json:
    body = {"model": TINY, "prompt": PROMPT, "temperature": 0, "max_tokens": TOKENS, **fields}
    response = http.post("/v1/completions", json=body)
    assert response.status_code == 200, response.text
    answer: Json = response.json()
    return answer


@pytest.mark.parametrize("case", HONOURED, ids=lambda case: case.name)
def test_it_is_honoured(tiny_http: httpx.Client, case: Case) -> None:
    GREEDY.setdefault("text", text(ask(tiny_http, {})))
    assert case.holds(ask(tiny_http, case.given | case.fields), ask(tiny_http, case.given))


def test_up_to_16_stop_strings_are_honoured(tiny_http: httpx.Client) -> None:
    whole = text(ask(tiny_http, {}))
    answer = ask(tiny_http, {"stop": [*["never said"] * 15, whole[3:6]]})
    assert text(answer) == whole[: whole.index(whole[3:6])]
    assert answer["choices"][0]["stop_reason"] == whole[3:6]


def test_a_stop_string_waits_for_min_tokens(tiny_http: httpx.Client) -> None:
    """As vLLM has it: what is complete within the first ones is text like any other."""
    one = text(ask(tiny_http, {**PUSHED, "max_tokens": 1}))
    early = ask(tiny_http, {**PUSHED, "stop": one})
    late = ask(tiny_http, {**PUSHED, "stop": one, "min_tokens": 4})
    assert (text(early), tokens(early), end(early)) == ("", 1, "stop")
    assert (text(late), tokens(late), end(late)) == (one * 4, 5, "stop")


@pytest.mark.parametrize("name", OUT_OF_RANGE)
def test_it_is_refused_by_name_when_it_is_wrong(tiny_http: httpx.Client, name: str) -> None:
    body = {"model": TINY, "prompt": PROMPT, name: OUT_OF_RANGE[name]}
    response = tiny_http.post("/v1/completions", json=body)
    error = response.json()["error"]
    assert (response.status_code, error["type"]) == (400, "invalid_request_error")
    assert re.split(r"[.\[]", error["param"])[0] == name
    assert name in error["message"]


@pytest.mark.parametrize(
    ("path", "prompt", "refused"),
    [
        ("/v1/completions", {"prompt": PROMPT}, REFUSED_ON_COMPLETIONS),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi."}]}, REFUSED),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    tiny_http: httpx.Client, path: str, prompt: Json, refused: dict[str, tuple[Any, ...]]
) -> None:
    for name, harmless in refused.items():
        response = tiny_http.post(path, json={"model": TINY, "max_tokens": 1, **prompt, name: "asked for"})
        error = response.json()["error"]
        assert (response.status_code, error["param"], error["code"]) == (400, name, "unsupported_parameter")
        body = {"model": TINY, "max_tokens": 1, **prompt, **({name: harmless[0]} if harmless else {})}
        assert tiny_http.post(path, json=body).status_code == 200
