"""vLLM's parameters over HTTP: tokens by their ids, judged prompts, words and thoughts that are cut off."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.inference.http.test_answers_over_http import chat, completion, events, refusal
from tests.inference.servers import running
from tests.inference.tiny_models import CONTEXT_LENGTH
from tests.inference.tool_model import MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from transformers import PreTrainedTokenizerFast

    from inference.options import ServerOptions

EOS = 2
COMPLETIONS, CHATS = "/v1/completions", "/v1/chat/completions"
IDS: dict[str, Any] = {"return_token_ids": True}


@pytest.fixture(scope="module")
def thinking(tiny_options: ServerOptions, tool_folder: Path) -> Iterator[httpx.Client]:
    options = replace(tiny_options, models=replace(tiny_options.models, name=str(tool_folder)))
    with (
        running(options) as server,
        httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client,
    ):
        yield client


def ask(http: httpx.Client, path: str, body: dict[str, Any]) -> Any:
    response = http.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def tokens_of(http: httpx.Client, **fields: Any) -> list[int]:
    answer: list[int] = ask(http, "/tokenize", {"add_special_tokens": False, **fields})["tokens"]
    return answer


def text_of(http: httpx.Client, tokens: list[int]) -> str:
    return str(ask(http, "/detokenize", {"tokens": tokens})["prompt"])


def test_a_stop_string_can_be_shown_and_its_tokens_with_it(tiny_http: httpx.Client) -> None:
    whole = ask(tiny_http, COMPLETIONS, completion(max_tokens=16))["choices"][0]["text"]
    stop = whole[4:7]
    body = completion(max_tokens=16, stop=stop, logprobs=0, include_stop_str_in_output=True)
    choice = ask(tiny_http, COMPLETIONS, body)["choices"][0]
    assert choice["text"] == whole[: whole.index(stop)] + stop
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", stop)
    streamed = events(tiny_http.post(COMPLETIONS, json={**body, "stream": True}))
    assert "".join(chunk["choices"][0]["text"] for chunk in streamed) == choice["text"]
    assert "".join(choice["logprobs"]["tokens"]).startswith(choice["text"])


def test_a_stop_token_can_be_shown_unless_it_is_special(tiny_http: httpx.Client) -> None:
    (token, *_), name = tokens_of(tiny_http, prompt=" word"), " word"
    pushed = {"logit_bias": {str(token): 100}, "stop_token_ids": [token]}
    shown = {"include_stop_str_in_output": True}
    assert ask(tiny_http, COMPLETIONS, completion(**pushed))["choices"][0]["text"] == ""
    assert ask(tiny_http, COMPLETIONS, completion(**pushed, **shown))["choices"][0]["text"] == name
    ended = completion(logit_bias={str(EOS): 100}, **shown)
    assert ask(tiny_http, COMPLETIONS, ended)["choices"][0]["text"] == ""
    both = {**ended, "skip_special_tokens": False}
    assert ask(tiny_http, COMPLETIONS, both)["choices"][0]["text"] == "<|im_end|>"


@pytest.mark.parametrize("path", [COMPLETIONS, CHATS])
def test_special_tokens_are_shown_when_they_are_asked_for(tiny_http: httpx.Client, path: str) -> None:
    start = 1
    body = {**(chat if path == CHATS else completion)(max_tokens=3, logit_bias={str(start): 100})}

    def said(**fields: Any) -> str:
        choice = ask(tiny_http, path, {**body, **fields})["choices"][0]
        return str(choice["message"]["content"] if path == CHATS else choice["text"])

    assert said() == said(skip_special_tokens=True) == ""
    assert said(skip_special_tokens=False) == "<|im_start|>" * 3
    assert said(skip_special_tokens=False, spaces_between_special_tokens=False) == "<|im_start|>" * 3


def test_a_bad_word_is_not_said_at_the_beginning_or_behind_a_space(tiny_http: httpx.Client) -> None:
    for text in ("word", " word"):
        (token,) = tokens_of(tiny_http, prompt=text)
        pushed = completion(max_tokens=4, logit_bias={str(token): 100})
        said, other = (
            ask(tiny_http, COMPLETIONS, {**pushed, "bad_words": words})["choices"][0]["text"]
            for words in ([], ["word"])
        )
        assert said == text * 4
        assert "word" not in other


def test_a_bad_word_of_several_tokens_may_be_begun(tiny_http: httpx.Client) -> None:
    for number in range(50):  # until it says something that its tokenizer would write with the same tokens
        body = completion(prompt=f"Say {number}.", max_tokens=3, **IDS)
        first = ask(tiny_http, COMPLETIONS, body)["choices"][0]["token_ids"]
        word = text_of(tiny_http, first)
        if tokens_of(tiny_http, prompt=word.lstrip()) == first:
            break
    else:
        pytest.fail("It never does.")
    other = ask(tiny_http, COMPLETIONS, {**body, "bad_words": [word]})["choices"][0]["token_ids"]
    assert other[:2] == first[:2]
    assert other[2] != first[2]


def test_only_allowed_tokens_are_said_and_the_others_have_the_least_logprob(tiny_http: httpx.Client) -> None:
    body = completion(max_tokens=6, allowed_token_ids=[300, 301], logprobs=4, temperature=1, seed=1)
    for stream in (False, True):
        response = tiny_http.post(COMPLETIONS, json={**body, "stream": stream, **IDS})
        chunks = events(response) if stream else [response.json()]
        choices = [chunk["choices"][0] for chunk in chunks]
        said = [id_ for choice in choices for id_ in choice["token_ids"]]
        assert len(said) == 6
        assert set(said) <= {300, 301}
        top = [odds for choice in choices for odds in choice["logprobs"]["top_logprobs"]]
        assert all(sorted(odds.values())[:-2] == [-9999.0] * 2 for odds in top)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"allowed_token_ids": [10**6]}, "allowed_token_ids"),
        ({"allowed_token_ids": [EOS], "min_tokens": 1}, "min_tokens"),
        ({"allowed_token_ids": "bad", "bad_words": ["word"]}, "bad_words"),
    ],
)
def test_a_request_that_leaves_nothing_to_be_said_is_refused(
    tiny_http: httpx.Client, fields: dict[str, Any], param: str
) -> None:
    if fields["allowed_token_ids"] == "bad":
        fields = {**fields, "allowed_token_ids": tokens_of(tiny_http, prompt="word")}
    error = refusal(tiny_http.post(COMPLETIONS, json=completion(**fields)), 400)
    assert (error["code"], error["param"]) == ("invalid_value", param)


def test_a_prompt_is_cut_on_the_side_that_is_named(tiny_http: httpx.Client) -> None:
    text = "One two three four five six seven."
    tokens = tokens_of(tiny_http, prompt=text)

    def read(prompt: Any = text, **fields: Any) -> Any:
        body = completion(prompt=prompt, max_tokens=1, **fields, **IDS)
        return ask(tiny_http, COMPLETIONS, body)["choices"][0]["prompt_token_ids"]

    assert read(truncate_prompt_tokens=3) == tokens[-3:]
    assert read(truncate_prompt_tokens=3, truncation_side="right") == tokens[:3]
    assert read(tokens, truncate_prompt_tokens=3) == tokens[-3:]
    assert read(truncate_prompt_tokens=300) == read(truncate_prompt_tokens=-1) == read() == tokens


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_prompt_that_is_far_too_long_is_cut_to_what_fits(
    tiny_http: httpx.Client, demo_tokenizer: PreTrainedTokenizerFast, side: str
) -> None:
    text = "".join(f"{number} and then " for number in range(30_000))
    body = completion(prompt=text, max_tokens=5, truncate_prompt_tokens=-1, truncation_side=side, **IDS)
    answer = ask(tiny_http, COMPLETIONS, body)
    kept = answer["choices"][0]["prompt_token_ids"]
    assert len(kept) == answer["usage"]["prompt_tokens"] == CONTEXT_LENGTH - 5
    whole = demo_tokenizer.encode(text)
    assert kept == (whole[-len(kept) :] if side == "left" else whole[: len(kept)])


def test_a_conversation_is_never_cut(tiny_http: httpx.Client) -> None:
    assert tiny_http.post(CHATS, json=chat(max_tokens=1, truncate_prompt_tokens=-1)).status_code == 200
    assert tiny_http.post(CHATS, json=chat(max_tokens=1, truncate_prompt_tokens=500)).status_code == 200
    error = refusal(tiny_http.post(CHATS, json=chat(truncate_prompt_tokens=3)), 400)
    assert (error["code"], error["param"]) == ("invalid_value", "truncate_prompt_tokens")


@pytest.mark.parametrize("budget", [0, 5])
def test_a_thought_that_has_taken_its_tokens_is_ended(thinking: httpx.Client, budget: int) -> None:
    """The template has said `<think>` and a line break, which is a token of the thought."""
    body = chat(
        model=MODEL,
        max_tokens=12,
        thinking_token_budget=budget,
        chat_template_kwargs={"think_aloud": True},
        **IDS,
    )
    (end,) = tokens_of(thinking, prompt="</think>")
    answer = ask(thinking, CHATS, body)
    choice = answer["choices"][0]
    place = max(budget - 1, 0)
    assert choice["token_ids"].index(end) == place
    assert len(choice["token_ids"]) == 12
    assert choice["message"]["content"] == text_of(thinking, choice["token_ids"][place + 1 :]).lstrip()
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == place + 1
    free = ask(thinking, CHATS, {**body, "thinking_token_budget": -1})
    assert end not in free["choices"][0]["token_ids"]
    if place:
        assert free["choices"][0]["token_ids"][:place] == choice["token_ids"][:place]


def test_a_grammar_begins_behind_a_thought_that_was_ended(thinking: httpx.Client) -> None:
    body = chat(
        model=MODEL,
        max_tokens=40,
        thinking_token_budget=4,
        chat_template_kwargs={"think_aloud": True},
        guided_choice=["So it is."],
    )
    choice = ask(thinking, CHATS, body)["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("So it is.", "stop")


def test_a_model_that_does_not_think_has_nothing_to_be_ended(tiny_http: httpx.Client) -> None:
    with_it, without = (ask(tiny_http, CHATS, chat(**how)) for how in ({"thinking_token_budget": 0}, {}))
    assert with_it["choices"] == without["choices"]


def test_what_a_seed_draws_does_not_depend_on_the_others_in_the_batch(tiny_http: httpx.Client) -> None:
    """Rows that are cut, penalised and banned in all ways, each alone and all at once."""
    hot = {"temperature": 1.2, "seed": 11, "max_tokens": 16, **IDS}
    asked: list[dict[str, Any]] = [
        {"xtc_probability": 0.7, "xtc_threshold": 0.01},
        {"typical_p": 0.4, "bad_words": ["the", "of a"]},
        {"repetition_penalty": 1.3, "repetition_context_size": 5, "top_k": 40},
        {"top_a": 0.3, "allowed_token_ids": [*range(300, 900)], "logprobs": 2},
    ]
    bodies = [completion(**{**hot, **fields}) for fields in asked]
    alone = [ask(tiny_http, COMPLETIONS, body)["choices"][0]["token_ids"] for body in bodies]
    assert alone == [ask(tiny_http, COMPLETIONS, body)["choices"][0]["token_ids"] for body in bodies]
    with ThreadPoolExecutor(len(bodies)) as pool:
        together = [*pool.map(lambda body: ask(tiny_http, COMPLETIONS, body), bodies)]
    assert [answer["choices"][0]["token_ids"] for answer in together] == alone


def test_the_tokens_of_thoughts_and_calls_are_said_too(thinking: httpx.Client) -> None:
    call = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'
    tool = {"type": "function", "function": {"name": "f"}}
    body = chat(model=MODEL, tools=[tool], guided_choice=[call], max_tokens=100, **IDS)
    answer = ask(thinking, CHATS, body)
    assert answer["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "f"
    said = answer["choices"][0]["token_ids"]
    assert text_of(thinking, said[:-1]) == call
    chunks = events(thinking.post(CHATS, json={**body, "stream": True}))
    streamed = [chunk["choices"][0].get("token_ids", []) for chunk in chunks]
    assert [id_ for ids in streamed for id_ in ids] == said
