"""/tokenize and /detokenize: what a prompt is in tokens, and exactly back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.inference.conftest import TINY
from tests.inference.tiny_models import CONTEXT_LENGTH

if TYPE_CHECKING:
    import httpx

MESSAGES: Any = [{"role": "user", "content": "Say something."}]


def tokenize(http: httpx.Client, **body: Any) -> dict[str, Any]:
    response = http.post("/tokenize", json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


@pytest.mark.parametrize("text", ["One two.", " leading", "日本語 🌍 café", "<|im_start|>user\n", ""])
def test_a_text_comes_back_from_its_tokens(tiny_http: httpx.Client, text: str) -> None:
    answer = tokenize(tiny_http, model=TINY, prompt=text, add_special_tokens=False)
    assert (answer["count"], answer["max_model_len"]) == (len(answer["tokens"]), CONTEXT_LENGTH)
    back = tiny_http.post("/detokenize", json={"model": TINY, "tokens": answer["tokens"]})
    assert back.json() == {"prompt": text}


def test_messages_are_counted_as_chat_counts_them(tiny_http: httpx.Client) -> None:
    chat = {"model": TINY, "messages": MESSAGES, "max_tokens": 1}
    used = tiny_http.post("/v1/chat/completions", json=chat).json()["usage"]["prompt_tokens"]
    assert tokenize(tiny_http, messages=MESSAGES)["count"] == used
    assert tokenize(tiny_http, messages=MESSAGES, add_generation_prompt=False)["count"] < used


def test_a_message_to_go_on_with_is_counted_without_its_end(tiny_http: httpx.Client) -> None:
    begun = [*MESSAGES, {"role": "assistant", "content": "Once upon"}]
    goes_on = {"continue_final_message": True, "add_generation_prompt": False}
    chat = {"model": TINY, "messages": begun, "max_tokens": 1, **goes_on}
    used = tiny_http.post("/v1/chat/completions", json=chat).json()["usage"]["prompt_tokens"]
    assert tokenize(tiny_http, messages=begun, **goes_on)["count"] == used
    assert tokenize(tiny_http, messages=begun, add_generation_prompt=False)["count"] > used


def test_the_pieces_of_a_text_are_given_when_asked_for(tiny_http: httpx.Client) -> None:
    assert tokenize(tiny_http, prompt="Say it")["token_strs"] is None
    answer = tokenize(tiny_http, prompt="Say it", return_token_strs=True)
    assert len(answer["token_strs"]) == answer["count"]
    assert answer["token_strs"][0] == "Say"


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/tokenize", {}, "prompt"),
        ("/tokenize", {"prompt": "a", "messages": MESSAGES}, "prompt"),
        ("/tokenize", {"prompt": 5}, "prompt"),
        ("/tokenize", {"messages": "hi"}, "messages"),
        ("/tokenize", {"messages": []}, "messages"),
        ("/tokenize", {"prompt": "a", "add_special_tokens": "yes"}, "add_special_tokens"),
        ("/detokenize", {}, "tokens"),
        ("/tokenize", {"messages": MESSAGES, "add_special_tokens": True}, "add_special_tokens"),
        ("/tokenize", {"messages": MESSAGES, "continue_final_message": True}, "continue_final_message"),
        ("/tokenize", {"messages": MESSAGES, "chat_template": "{{ messages }}"}, "chat_template"),
        ("/detokenize", {"tokens": ["a"]}, "tokens[0]"),
        ("/detokenize", {"tokens": [10**6]}, "tokens"),
    ],
)
def test_what_is_wrong_is_named(tiny_http: httpx.Client, path: str, body: Any, param: str) -> None:
    response = tiny_http.post(path, json=body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


def test_another_model_is_not_found(tiny_http: httpx.Client) -> None:
    for path, field in (("/tokenize", {"prompt": "a"}), ("/detokenize", {"tokens": [1]})):
        assert tiny_http.post(path, json={"model": "gpt-x", **field}).status_code == 404
