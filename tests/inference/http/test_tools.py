"""Tools over HTTP, with the openai SDK: a random model is made to say calls and thoughts by a grammar.

Its tokenizer is the demo model's with two tokens renamed to the markers of a thought, and its template is a
small one of the kind that most models have.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import openai
import pytest

from tests.inference.http.test_answers_over_http import chat, refusal
from tests.inference.servers import running
from tests.inference.tool_model import MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inference.options import ServerOptions

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Bern", "Genf"]}, "days": {"$ref": "#/$defs/days"}},
            "required": ["city", "days"],
            "additionalProperties": False,
            "$defs": {"days": {"type": "integer", "minimum": 1, "maximum": 7}},
        },
    },
}
CLOCK: dict[str, Any] = {"type": "function", "function": {"name": "clock"}}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Bern", "days": 2}}\n</tool_call>'
OTHER_CALL = '<tool_call>\n{"name": "clock", "arguments": {}}\n</tool_call>'
USER: Any = [{"role": "user", "content": "What is the weather in Bern?"}]


def made(messages: Any = USER, **fields: Any) -> dict[str, Any]:
    return {**chat(messages=messages, max_tokens=300, tools=[WEATHER, CLOCK]), "model": MODEL, **fields}


def says(text: str) -> dict[str, Any]:
    """Makes the model say exactly this."""
    return {"guided_choice": [text]}


@pytest.fixture(scope="module")
def client(tiny_options: ServerOptions, tool_folder: Path) -> Iterator[openai.OpenAI]:
    options = replace(tiny_options, models=replace(tiny_options.models, name=str(tool_folder)))
    with (
        running(options) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="not-needed", max_retries=0) as client,
    ):
        yield client


def post(client: openai.OpenAI, body: dict[str, Any]) -> Any:
    """The one choice of an answer, as JSON."""
    answer = client.post("/chat/completions", body=body, cast_to=object)
    assert isinstance(answer, dict)
    return answer["choices"][0]


def refused(client: openai.OpenAI, body: dict[str, Any]) -> Any:
    with pytest.raises(openai.BadRequestError) as error:
        client.post("/chat/completions", body=body, cast_to=object)
    return error.value.param


def streamed(client: openai.OpenAI, body: dict[str, Any]) -> tuple[str, str]:
    """Content and reasoning of a streamed answer."""
    stream = client.chat.completions.create(
        model=MODEL, messages=USER, stream=True, extra_body={**body, "stream": True}
    )
    deltas = [chunk.choices[0].delta for chunk in stream]
    reasoning = "".join((delta.model_extra or {}).get("reasoning_content", "") for delta in deltas)
    return "".join(delta.content or "" for delta in deltas), reasoning


def called(choice: Any) -> list[tuple[str, Any]]:
    functions = [call["function"] for call in choice["message"]["tool_calls"]]
    return [(function["name"], json.loads(function["arguments"])) for function in functions]


def test_a_call_is_read_from_what_the_model_says(client: openai.OpenAI) -> None:
    choice = post(client, made(**says(CALL)))
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert called(choice) == [("weather", {"city": "Bern", "days": 2})]
    (call,) = choice["message"]["tool_calls"]
    assert set(call) == {"id", "type", "function"}
    assert call["id"].startswith("call_")


def test_text_before_calls_is_content_and_calls_come_in_their_order(client: openai.OpenAI) -> None:
    choice = post(client, made(**says(f"I look.\n{CALL}\n{OTHER_CALL}")))
    assert choice["message"]["content"] == "I look."
    assert called(choice) == [("weather", {"city": "Bern", "days": 2}), ("clock", {})]
    assert len({call["id"] for call in choice["message"]["tool_calls"]}) == 2


def test_one_call_is_enough_when_they_must_not_be_parallel(client: openai.OpenAI) -> None:
    choice = post(client, made(parallel_tool_calls=False, **says(CALL + OTHER_CALL)))
    assert called(choice) == [("weather", {"city": "Bern", "days": 2})]
    assert choice["finish_reason"] == "tool_calls"


def test_the_sdk_puts_a_streamed_call_together(client: openai.OpenAI) -> None:
    stream: Any = client.chat.completions.create(
        model=MODEL,
        messages=USER,
        tools=[WEATHER, CLOCK],  # type: ignore[list-item]
        temperature=0,
        max_tokens=300,
        stream=True,
        extra_body=says(f"I look. {CALL}{OTHER_CALL}"),
    )
    content, finish = "", None
    calls: dict[int, Any] = {}
    for chunk in stream:
        delta = chunk.choices[0].delta
        content += delta.content or ""
        for call in delta.tool_calls or []:
            known = calls.setdefault(call.index, {"id": call.id, "name": "", "arguments": ""})
            assert call.function is not None
            known["name"] = known["name"] or call.function.name
            known["arguments"] += call.function.arguments or ""
        finish = chunk.choices[0].finish_reason or finish
    assert (content, finish) == ("I look.", "tool_calls")
    assert [calls[place]["name"] for place in (0, 1)] == ["weather", "clock"]
    assert json.loads(calls[0]["arguments"]) == {"city": "Bern", "days": 2}
    assert calls[0]["id"] != calls[1]["id"]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_required_call_fits_the_schema_of_its_tool(client: openai.OpenAI, seed: int) -> None:
    choice = post(client, made(tool_choice="required", tools=[WEATHER], temperature=1, seed=seed))
    ((name, arguments),) = called(choice)
    assert name == "weather"
    assert arguments["city"] in ("Bern", "Genf")
    assert 1 <= arguments["days"] <= 7
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None


def test_a_named_function_is_the_one_that_is_called(client: openai.OpenAI) -> None:
    named = {"type": "function", "function": {"name": "weather"}}
    ((name, _),) = called(post(client, made(tool_choice=named, temperature=1.5, seed=4)))
    assert name == "weather"


def test_a_required_call_needs_no_form_of_an_answer(client: openai.OpenAI) -> None:
    """As instructor asks for it over Responses: a call has no text to put in form."""
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "integer"}}}
    ((name, _),) = called(
        post(client, made(tool_choice="required", tools=[WEATHER], response_format=form, seed=4))
    )
    assert name == "weather"


def test_without_a_choice_of_tools_nothing_is_read_as_a_call(client: openai.OpenAI) -> None:
    choice = post(client, made(tool_choice="none", **says(CALL)))
    assert choice["message"] == {"role": "assistant", "content": CALL}
    assert choice["finish_reason"] == "stop"


def test_a_call_that_is_cut_off_is_shown_as_text(client: openai.OpenAI) -> None:
    choice = post(client, made(max_tokens=12, **says(CALL)))
    assert choice["finish_reason"] == "length"
    assert "tool_calls" not in choice["message"]
    assert choice["message"]["content"].startswith("<tool_call>")


def test_the_answer_of_a_tool_goes_to_the_template(client: openai.OpenAI) -> None:
    function = {"name": "weather", "arguments": '{"city": "Bern"}'}
    history = [
        *USER,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "Sunny."},
    ]
    choice = post(client, made(history, **says("Sunny.")))
    assert choice["message"]["content"] == "Sunny."
    function["arguments"] = "{"
    assert refused(client, made(history)) == "messages[1].tool_calls[0].function.arguments"


def test_a_thought_is_reasoning_and_not_content(client: openai.OpenAI) -> None:
    body = made(tools=[], chat_template_kwargs={"think_aloud": True}, max_tokens=12)
    message = post(client, body)["message"]
    assert message["reasoning_content"]
    assert message["content"] == ""
    assert streamed(client, body) == ("", message["reasoning_content"])


def test_the_tokens_of_thoughts_are_counted(client: openai.OpenAI) -> None:
    how: dict[str, Any] = {"model": MODEL, "temperature": 0}
    thinks = {"chat_template_kwargs": {"think_aloud": True}}
    body = {"messages": USER, "max_tokens": 12, **how, **thinks}
    thinking = client.chat.completions.create(**how, messages=USER, max_tokens=12, extra_body=thinks).usage
    assert thinking is not None
    assert thinking.completion_tokens_details is not None
    assert thinking.completion_tokens_details.reasoning_tokens == 12
    options = {"stream": True, "stream_options": {"include_usage": True}}
    stream: Any = client.chat.completions.create(
        **how, messages=USER, extra_body={**body, **options}, stream=True
    )
    *_, last = stream
    assert last.usage.completion_tokens_details == thinking.completion_tokens_details
    plain = client.chat.completions.create(**how, messages=USER, max_tokens=4).usage
    assert plain is not None
    assert plain.completion_tokens_details is not None
    assert plain.completion_tokens_details.reasoning_tokens == 0


def test_a_grammar_begins_behind_the_thought(client: openai.OpenAI) -> None:
    """The end of the thought is forced by a bias; behind it only the grammar's one answer is left."""
    end = client.post("/../tokenize", body={"prompt": "</think>"}, cast_to=object)
    assert isinstance(end, dict)
    (token,) = end["tokens"]
    body = made(
        tools=[],
        chat_template_kwargs={"think_aloud": True},
        logit_bias={str(token): 100},
        **says("So it is."),
    )
    choice = post(client, body)
    assert choice["message"] == {"role": "assistant", "content": "So it is."}
    assert choice["finish_reason"] == "stop"
    assert streamed(client, body) == ("So it is.", "")


def test_a_required_call_comes_behind_the_thought(client: openai.OpenAI) -> None:
    end = client.post("/../tokenize", body={"prompt": "</think>"}, cast_to=object)
    assert isinstance(end, dict)
    (token,) = end["tokens"]
    body = made(
        tools=[WEATHER],
        tool_choice="required",
        chat_template_kwargs={"think_aloud": True},
        logit_bias={str(token): 100},
    )
    ((name, arguments),) = called(post(client, body))
    assert name == "weather"
    assert set(arguments) == {"city", "days"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": "weather"}, "tools"),
        ({"tools": [{"type": "web"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tool_choice": "always"}, "tool_choice"),
        ({"tool_choice": "required", "tools": []}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice"),
        ({"tool_choice": "required", "guided_regex": "a"}, "tool_choice"),
        ({"tool_choice": "required", "ignore_eos": True}, "ignore_eos"),
        ({"tool_choice": "required", "min_tokens": 2}, "min_tokens"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "strict": 1}}]},
            "tools[0].function.strict",
        ),
        ({"chat_template_kwargs": {"tools": []}}, "chat_template_kwargs.tools"),
        ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs.messages"),
        ({"chat_template_kwargs": {"return_tensors": "np"}}, "chat_template_kwargs.return_tensors"),
        ({"chat_template_kwargs": {"truncation": True}}, "chat_template_kwargs.truncation"),
    ],
)
def test_what_is_wrong_with_tools_is_named(client: openai.OpenAI, fields: Any, param: str) -> None:
    assert refused(client, made(**fields)) == param


def test_tools_count_when_a_conversation_is_tokenised(client: openai.OpenAI) -> None:
    counts = [
        client.post("/../tokenize", body={"messages": USER, "tools": tools}, cast_to=object)
        for tools in ([], [WEATHER])
    ]
    without, with_tools = (answer["count"] for answer in counts if isinstance(answer, dict))
    assert with_tools > without


def test_a_model_whose_template_knows_no_tools_says_so(tiny_http: Any) -> None:
    error = refusal(tiny_http.post("/v1/chat/completions", json=chat(tools=[WEATHER])), 400)
    assert (error["code"], error["param"]) == ("unsupported_parameter", "tools")
    assert "knows no tools" in error["message"]
    found = chat(messages=[*USER, {"role": "tool", "tool_call_id": "c1", "content": "x"}])
    assert refusal(tiny_http.post("/v1/chat/completions", json=found), 400)["param"] == "messages[1].role"
