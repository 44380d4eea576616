"""OpenAI's `functions`, which came before tools: the same calls, in the old shape, with the openai SDK."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import openai
import pytest

from tests.inference.http.test_answers_over_http import chat
from tests.inference.http.test_tools import CALL, CLOCK, OTHER_CALL, USER, WEATHER, says
from tests.inference.servers import running
from tests.inference.tool_model import MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inference.options import ServerOptions

FUNCTIONS = [WEATHER["function"], CLOCK["function"]]


@pytest.fixture(scope="module")
def client(tiny_options: ServerOptions, tool_folder: Path) -> Iterator[openai.OpenAI]:
    options = replace(tiny_options, models=replace(tiny_options.models, name=str(tool_folder)))
    with (
        running(options) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="not-needed", max_retries=0) as client,
    ):
        yield client


def asked(messages: Any = USER, **fields: Any) -> dict[str, Any]:
    return {**chat(messages=messages, max_tokens=300, functions=FUNCTIONS), "model": MODEL, **fields}


def post(client: openai.OpenAI, body: dict[str, Any], path: str = "/chat/completions") -> Any:
    return client.post(path, body=body, cast_to=object)


def test_a_call_comes_in_the_old_shape_and_there_is_one_only(client: openai.OpenAI) -> None:
    (choice,) = post(client, asked(**says(f"I look.\n{CALL}\n{OTHER_CALL}")))["choices"]
    assert choice["finish_reason"] == "function_call"
    assert choice["message"]["content"] == "I look."
    assert "tool_calls" not in choice["message"]
    call = choice["message"]["function_call"]
    assert (call["name"], json.loads(call["arguments"])) == ("weather", {"city": "Bern", "days": 2})


def test_an_answer_without_a_call_is_an_answer(client: openai.OpenAI) -> None:
    (choice,) = post(client, asked(**says("No.")))["choices"]
    assert choice["message"] == {"role": "assistant", "content": "No."}
    assert choice["finish_reason"] == "stop"


def test_a_stream_says_the_name_first_and_then_the_arguments(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model=MODEL, messages=USER, stream=True, extra_body={**asked(**says(CALL)), "stream": True}
    )
    choices = [chunk.choices[0] for chunk in stream]
    calls = [choice.delta.function_call for choice in choices if choice.delta.function_call]
    assert calls[0].name == "weather"
    assert not any(call.name for call in calls[1:])
    arguments = "".join(call.arguments or "" for call in calls)
    assert json.loads(arguments) == {"city": "Bern", "days": 2}
    assert choices[-1].finish_reason == "function_call"
    assert not any(choice.delta.tool_calls for choice in choices)


def test_a_function_that_is_named_is_called(client: openai.OpenAI) -> None:
    (choice,) = post(client, asked(function_call={"name": "weather"}))["choices"]
    assert choice["message"]["function_call"]["name"] == "weather"
    assert choice["finish_reason"] == "function_call"


@pytest.mark.parametrize("nothing", [{"function_call": "none"}, {"functions": []}, {"functions": None}])
def test_none_are_told_of_when_none_may_be_called(client: openai.OpenAI, nothing: dict[str, Any]) -> None:
    with_it = post(client, asked(max_tokens=4, return_token_ids=True, **nothing))
    without = post(client, asked(max_tokens=4, return_token_ids=True, functions=None))
    assert with_it["prompt_token_ids"] == without["prompt_token_ids"]


def test_a_conversation_with_functions_is_read_as_one_with_tools(client: openai.OpenAI) -> None:
    made = {"name": "weather", "arguments": '{"city": "Bern", "days": 2}'}
    old = [
        *USER,
        {"role": "assistant", "content": None, "function_call": made},
        {"role": "function", "name": "weather", "content": "Sun."},
    ]
    new = [
        *USER,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "a", "type": "function", "function": made}],
        },
        {"role": "tool", "tool_call_id": "a", "content": "Sun."},
    ]
    body = chat(max_tokens=1, model=MODEL, return_token_ids=True)
    prompts = [
        post(client, {**body, "messages": old, "functions": FUNCTIONS}),
        post(client, {**body, "messages": new, "tools": [WEATHER, CLOCK]}),
    ]
    assert prompts[0]["prompt_token_ids"] == prompts[1]["prompt_token_ids"]
    assert len(prompts[0]["prompt_token_ids"]) > 50


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"functions": {}}, "functions"),
        ({"functions": ["weather"]}, "functions[0]"),
        ({"functions": [{"name": ""}]}, "functions[0].name"),
        ({"functions": [{"name": "f", "parameters": 1}]}, "functions[0].parameters"),
        ({"functions": [{"name": "f"}] * 129}, "functions"),
        ({"function_call": "required"}, "function_call"),
        ({"function_call": {"name": "other"}}, "function_call"),
        ({"function_call": {}}, "function_call.name"),
        ({"function_call": {"name": "clock"}, "ignore_eos": True}, "ignore_eos"),
        ({"function_call": {"name": "clock"}, "functions": None}, "function_call"),
        ({"tools": [CLOCK]}, "functions"),
        ({"messages": [*USER, {"role": "assistant", "function_call": {"name": "f"}}]}, "messages[1]"),
    ],
)
def test_what_is_wrong_is_refused_by_its_own_name(
    client: openai.OpenAI, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        post(client, asked(**fields))
    assert (refused.value.param or "").startswith(param)
    assert param in refused.value.message


def test_a_model_that_knows_no_tools_knows_no_functions(tiny_client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        post(tiny_client, chat(functions=FUNCTIONS))
    assert refused.value.param == "functions"
