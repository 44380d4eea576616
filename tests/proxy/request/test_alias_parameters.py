"""What an alias adds to requests: defaults that a client may change, and what it may not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from endpoints.routing.snapshot import Alias
from proxy.request.parameters import Parameters
from tests.proxy.conftest import CHAT, PLAIN, SPEAKING, chat_body, target_for
from tests.proxy.key_making import made

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from tests.fakes.upstream import FakeUpstream

    Table = Callable[..., None]
    Upstreams = Callable[..., FakeUpstream]

CHATS = "/v1/chat/completions"
QUICK: dict[str, Any] = {"temperature": 0.6, "chat_template_kwargs": {"enable_thinking": False}}
MESSAGE = {"model": "quick", "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]}


def alias(defaults: dict[str, Any] | None = None, **overrides: Any) -> dict[str, Alias]:
    return {"quick": Alias(("qwen",), defaults=defaults or {}, overrides=overrides)}


def sent(upstream: FakeUpstream, path: str = CHATS) -> Any:
    return json.loads(upstream.requests_for(path)[-1].body)


def test_a_request_gets_the_defaults_that_it_does_not_say_itself(
    client: httpx.Client, upstreams: Upstreams, table: Table
) -> None:
    qwen = upstreams("qwen")
    table(target_for(qwen), aliases=alias(QUICK))

    assert client.post(CHAT, json=chat_body("quick")).status_code == 200
    assert sent(qwen) == chat_body("qwen") | QUICK

    own = {"temperature": 1, "chat_template_kwargs": {"tone": "dry"}, "top_p": None}
    assert client.post(CHAT, json=chat_body("quick", **own)).status_code == 200
    kwargs = {"tone": "dry", "enable_thinking": False}
    assert sent(qwen) == chat_body("qwen", **own) | {"chat_template_kwargs": kwargs}


def test_what_is_fixed_counts_whatever_a_request_says_and_null_takes_out(
    client: httpx.Client, upstreams: Upstreams, table: Table
) -> None:
    qwen = upstreams("qwen")
    table(target_for(qwen), aliases=alias(temperature=0.6, top_p=None, n=1))

    client.post(CHAT, json=chat_body("quick", temperature=2, top_p=0.1, n=8))

    assert sent(qwen) == chat_body("qwen", temperature=0.6, n=1)


def test_the_model_itself_and_other_names_get_nothing(
    client: httpx.Client, upstreams: Upstreams, table: Table
) -> None:
    qwen = upstreams("qwen")
    table(target_for(qwen), aliases=alias(QUICK) | {"plain": Alias(("qwen",))})

    for name in ("qwen", "plain"):
        client.post(CHAT, json=chat_body(name))
        assert sent(qwen) == chat_body("qwen")


def test_a_pattern_adds_its_parameters_too_and_a_stream_is_counted_as_ever(
    client: httpx.Client, upstreams: Upstreams, table: Table
) -> None:
    qwen = upstreams("qwen")
    table(target_for(qwen), aliases={"claude-*": alias(QUICK)["quick"]})

    answer = client.post(CHAT, json=chat_body("claude-next", stream=True))

    assert answer.text.endswith("data: [DONE]\n\n")
    assert '"usage"' not in answer.text
    options = {"include_usage": True}
    assert sent(qwen) == chat_body("qwen", stream=True, stream_options=options) | QUICK


@pytest.mark.parametrize("backend", [PLAIN, SPEAKING])
def test_a_message_is_told_in_chat_with_them_also_where_messages_are_spoken(
    client: httpx.Client, upstreams: Upstreams, table: Table, backend: str
) -> None:
    qwen = upstreams("qwen")
    table(target_for(qwen, type=backend), aliases=alias(QUICK, max_tokens=7))

    answer = client.post("/olla/anthropic/v1/messages", json=MESSAGE | {"thinking": {"type": "enabled"}})

    assert (answer.status_code, answer.json()["type"]) == (200, "message")
    assert "x-olla-mode" not in answer.headers
    told = sent(qwen)
    assert (told["model"], told["temperature"], told["max_tokens"]) == ("qwen", 0.6, 7)
    assert told["chat_template_kwargs"] == {"enable_thinking": True}  # the client has said so


def test_tokens_of_a_message_are_counted_without_them(
    client: httpx.Client, upstreams: Upstreams, table: Table
) -> None:
    table(target_for(upstreams("qwen"), type=PLAIN), aliases=alias(QUICK))

    counted = client.post("/olla/anthropic/v1/messages/count_tokens", json=MESSAGE)

    assert counted.json()["input_tokens"] > 0


@pytest.mark.parametrize("parameters", [alias({"max_tokens": 9000}), alias(max_completion_tokens=9000)])
@pytest.mark.django_db
@pytest.mark.usefixtures("no_keys_left")
def test_no_answer_gets_longer_by_them_than_the_key_may_have(
    client: httpx.Client, upstreams: Upstreams, table: Table, parameters: dict[str, Alias]
) -> None:
    qwen = upstreams("qwen")
    table(target_for(qwen), aliases=parameters)
    key = {"authorization": f"Bearer {made(max_tokens=100)}"}

    assert client.post(CHAT, json=chat_body("quick"), headers=key).status_code == 200
    (length,) = {"max_tokens", "max_completion_tokens"} & sent(qwen).keys()
    assert sent(qwen)[length] == 100
    refused = client.post(CHAT, json=chat_body("quick", max_tokens=200), headers=key)
    own = parameters["quick"].defaults
    assert refused.status_code == (400 if own else 200)


@pytest.mark.parametrize("inside", [b'"\xff"', b"1e999"], ids=["no UTF-8", "no number"])
def test_an_object_that_cannot_be_read_is_refused(
    client: httpx.Client, upstreams: Upstreams, table: Table, inside: bytes
) -> None:
    qwen = upstreams("qwen")
    table(target_for(qwen), aliases=alias(QUICK))
    body = b'{"model": "quick", "messages": [], "chat_template_kwargs": {"tone": %s}}' % inside

    answer = client.post(CHAT, content=body, headers={"content-type": "application/json"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")
    assert qwen.requests == []


@pytest.mark.parametrize(
    ("given", "defaults", "overrides", "made_of_it"),
    [
        ({"max_completion_tokens": 5}, {"max_tokens": 9}, {}, {"max_completion_tokens": 5}),
        ({"max_completion_tokens": 5}, {}, {"max_tokens": 9}, {"max_tokens": 9}),
        ({"stop": None}, {"stop": ["x"]}, {}, {"stop": ["x"]}),
        ({"a": 1}, {"a": {"b": 2}}, {}, {"a": 1}),
        ({"a": {"b": 1}}, {"a": 2}, {}, {"a": {"b": 1}}),
        ({"a": {"b": 1, "c": 2}}, {}, {"a": {"b": None, "d": {"e": None}}}, {"a": {"c": 2, "d": {}}}),
    ],
)
def test_objects_are_merged_and_two_names_of_one_thing_are_one(
    given: dict[str, Any],
    defaults: dict[str, Any],
    overrides: dict[str, Any],
    made_of_it: dict[str, Any],
) -> None:
    found = Parameters(Alias(("m",), defaults=defaults, overrides=overrides), most=None)
    assert found.put_into(given) == made_of_it
