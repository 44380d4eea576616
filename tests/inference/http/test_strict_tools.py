"""Calls that the model makes of its own accord, of tools that are `strict`: over HTTP, with the openai SDK.

A bias makes the random model begin them. What it writes then is chance, but for the grammar.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import openai
import pytest

from tests.inference.http.test_tools import CLOCK, WEATHER, called, made, post, refused
from tests.inference.servers import running
from tests.inference.tool_model import write_tool_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inference.options import ServerOptions

STRICT: dict[str, Any] = {"type": "function", "function": {**WEATHER["function"], "strict": True}}
NAMES = ("weather", "clock")


@pytest.fixture(scope="module")
def client(
    tiny_options: ServerOptions, demo_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[openai.OpenAI]:
    folder = tmp_path_factory.mktemp("models") / "tiny-tools"
    write_tool_model(folder, tokenizer_from=demo_folder, marks_are_tokens=True)
    options = replace(tiny_options, models=replace(tiny_options.models, name=str(folder)))
    with (
        running(options) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="not-needed", max_retries=0) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def begins_calls(client: openai.OpenAI) -> dict[str, Any]:
    """Fields with which the model begins a call wherever it may."""
    body = {"prompt": "<tool_call>", "add_special_tokens": False}
    answer: Any = client.post("/../tokenize", body=body, cast_to=object)
    (mark,) = answer["tokens"]
    return {"logit_bias": {str(mark): 100}, "temperature": 1}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_call_of_a_strict_tool_fits_its_schema(
    client: openai.OpenAI, begins_calls: dict[str, Any], seed: int
) -> None:
    choice = post(client, made(tools=[STRICT], seed=seed, max_tokens=400, **begins_calls))
    calls = called_whole(choice)
    assert len(calls) > 1
    for name, arguments in calls:
        assert name == "weather"
        assert arguments["city"] in ("Bern", "Genf")
        assert 1 <= arguments["days"] <= 7
        assert set(arguments) == {"city", "days"}


def called_whole(choice: Any) -> list[tuple[str, Any]]:
    """But for the last call, which may have been cut."""
    *whole, last = choice["message"]["tool_calls"]
    if choice["finish_reason"] == "tool_calls":
        whole.append(last)
    return called({"message": {"tool_calls": whole}})


def test_one_call_ends_the_answer_when_they_must_not_be_parallel(
    client: openai.OpenAI, begins_calls: dict[str, Any]
) -> None:
    body = made(tools=[STRICT], seed=5, parallel_tool_calls=False, **begins_calls)
    choice = post(client, body)
    assert choice["finish_reason"] == "tool_calls"
    ((name, arguments),) = called(choice)
    assert (name, set(arguments)) == ("weather", {"city", "days"})


def test_without_strict_the_model_writes_what_it_likes(
    client: openai.OpenAI, begins_calls: dict[str, Any]
) -> None:
    choice = post(client, made(tools=[WEATHER], seed=1, max_tokens=60, **begins_calls))
    assert not choice["message"].get("tool_calls")


def test_what_a_strict_schema_asks_for_and_cannot_be_enforced_is_refused(client: openai.OpenAI) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "unevaluatedItems": False}
    function = {"name": "weather", "parameters": parameters, "strict": True}
    tool: dict[str, Any] = {"type": "function", "function": function}
    assert refused(client, made(tools=[tool])) == "tools"
    function["strict"] = False
    assert post(client, made(tools=[tool], max_tokens=4))["finish_reason"] == "length"


@pytest.mark.parametrize("strict", [True, False])
def test_a_number_that_no_schema_can_hold_is_refused_by_name(client: openai.OpenAI, *, strict: bool) -> None:
    function = {"name": "far", "parameters": {"type": "object", "properties": {"n": {"const": 10**40}}}}
    tool = {"type": "function", "function": {**function, "strict": strict}}
    assert refused(client, made(tools=[tool], tool_choice="required")) == "tools"


def test_beside_a_strict_tool_the_others_are_called_by_their_names(
    client: openai.OpenAI, begins_calls: dict[str, Any]
) -> None:
    body = made(tools=[STRICT, CLOCK], seed=3, max_tokens=400, n=4, **begins_calls)
    answer: Any = client.post("/chat/completions", body=body, cast_to=object)
    names = {
        name
        for choice in answer["choices"]
        for name, _ in called_whole(choice)
        if choice["message"]["tool_calls"]
    }
    assert names <= set(NAMES)
    assert names
