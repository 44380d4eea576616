"""`response_format` beside tools that a model may call: it calls them in its own notation, or answers so."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import openai
import pytest

from inference.http.fields import Fields
from inference.http.grammars import Grammars
from inference.http.manner import Fence
from inference.http.structure import Structure, json_grammar, read_structure
from inference.http.tools import Tools, answer_or_calls
from tests.inference.http.test_growing_calls import TOOLS, WRITTEN
from tests.inference.http.test_strict_tools import STRICT
from tests.inference.http.test_tools import CLOCK, WEATHER, called, made, post
from tests.inference.servers import running
from tests.inference.tiny_models import VOCABULARY_SIZE
from tests.inference.tool_model import write_tool_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from transformers import PreTrainedTokenizerFast

    from inference.options import ServerOptions

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"sky": {"enum": ["blue", "grey"]}},
    "required": ["sky"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "sky", "strict": True, "schema": SCHEMA}}
ANSWER = Structure("response_format", json_grammar(SCHEMA, "response_format"))
OFFERED = Tools(TOOLS, [TOOLS[0]["function"]])


@pytest.fixture(scope="module")
def grammars(demo_tokenizer: PreTrainedTokenizerFast) -> Grammars:
    return Grammars(demo_tokenizer.backend_tokenizer, width=VOCABULARY_SIZE, ends=[2])


@pytest.fixture(params=sorted(WRITTEN))
def notation(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def fence_in(notation: str, tokenizer: PreTrainedTokenizerFast, *, as_tokens: bool) -> Fence:
    """The notation's own, or two tokens of this tokenizer, for the models whose marks are tokens."""
    module = importlib.import_module(f"mlx_lm.tool_parsers.{notation}")
    start, end = module.tool_call_start, module.tool_call_end
    if as_tokens:
        start, end = "<issue_start>", end and "<issue_closed>"
    tokens = [tuple(tokenizer.encode(mark, add_special_tokens=False)) for mark in (start, end)]
    return Fence(start, end, tokens[0], tokens[1], holds_json=notation == "json_tools")


@pytest.mark.parametrize("as_tokens", [False, True])
def test_calls_in_every_notation_are_let_pass_and_so_is_the_answer(
    grammars: Grammars, demo_tokenizer: PreTrainedTokenizerFast, notation: str, *, as_tokens: bool
) -> None:
    fence = fence_in(notation, demo_tokenizer, as_tokens=as_tokens)
    structure = answer_or_calls(ANSWER, OFFERED, fence)
    call = f"{fence.start}{WRITTEN[notation]}{fence.end}"

    def follows(text: str) -> bool:
        matcher = grammars.matcher(structure)
        ids = demo_tokenizer.encode(text, add_special_tokens=False)
        return bool(matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting())

    assert follows('{"sky": "blue"}')
    assert follows(call)
    assert not follows('{"sky": "red"}')
    assert not follows("I look.")
    assert not follows(f"I look.{call}")
    if fence.end:
        assert follows(f"{call}\n{call}")
        assert not follows(f"{call}I looked.")
        assert not follows(f"{fence.start}{WRITTEN[notation]}")


@pytest.mark.parametrize(
    "asked",
    [
        {"response_format": {"type": "json_object"}},
        {"guided_regex": r"\{[a-z]+\}"},
        {"guided_grammar": "start: word word\nword: /[a-z{}]/"},
    ],
)
def test_whatever_describes_the_answer_can_stand_beside_calls(
    grammars: Grammars, demo_tokenizer: PreTrainedTokenizerFast, asked: dict[str, Any]
) -> None:
    answer = read_structure(Fields(asked))
    assert answer is not None
    fence = fence_in("json_tools", demo_tokenizer, as_tokens=True)
    structure = answer_or_calls(answer, OFFERED, fence)
    for text, fits in (
        ("{}", "response_format" in asked or "guided_grammar" in asked),
        ("<issue_start>", True),
    ):
        matcher = grammars.matcher(structure)
        ids = demo_tokenizer.encode(text, add_special_tokens=False)
        assert (matcher.try_consume_tokens(ids) == len(ids)) == fits


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
def mark(client: openai.OpenAI) -> str:
    body = {"prompt": "<tool_call>", "add_special_tokens": False}
    answer: Any = client.post("/../tokenize", body=body, cast_to=object)
    (mark,) = answer["tokens"]
    return str(mark)


def asked(mark: str, bias: int, **fields: Any) -> dict[str, Any]:
    """A model whose words are chance begins a call, or does not, as the bias says."""
    values = {"tools": [STRICT], "temperature": 1, "max_tokens": 200, "logit_bias": {mark: bias}}
    return made(response_format=FORMAT, **values | fields)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_model_that_calls_no_tool_answers_as_asked(client: openai.OpenAI, mark: str, seed: int) -> None:
    choice = post(client, asked(mark, -100, seed=seed))
    assert choice["finish_reason"] == "stop"
    assert json.loads(choice["message"]["content"])["sky"] in ("blue", "grey")
    assert not choice["message"].get("tool_calls")


@pytest.mark.parametrize("seed", [1, 2])
def test_a_model_that_calls_a_tool_may(client: openai.OpenAI, mark: str, seed: int) -> None:
    choice = post(client, asked(mark, 100, seed=seed, parallel_tool_calls=False))
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    ((name, arguments),) = called(choice)
    assert (name, set(arguments)) == ("weather", {"city", "days"})


def test_several_calls_may_follow_each_other(client: openai.OpenAI, mark: str) -> None:
    choice = post(client, asked(mark, 100, seed=1, max_tokens=300))
    assert len(choice["message"]["tool_calls"]) > 1
    cut = choice["message"]["content"]
    assert cut is None or cut.startswith("<tool_call>")


def test_a_thought_comes_before_either(client: openai.OpenAI, mark: str) -> None:
    body = asked(mark, -100, seed=3, chat_template_kwargs={"think_aloud": True}, max_tokens=400)
    end: Any = client.post(
        "/../tokenize", body={"prompt": "</think>", "add_special_tokens": False}, cast_to=object
    )
    body["logit_bias"][str(end["tokens"][0])] = 5
    choice = post(client, body)
    assert choice["message"]["reasoning_content"]
    assert json.loads(choice["message"]["content"])["sky"] in ("blue", "grey")


def test_where_tools_must_not_be_called_only_the_answer_is_left(client: openai.OpenAI, mark: str) -> None:
    choice = post(client, asked(mark, 100, tools=[WEATHER, CLOCK], tool_choice="none"))
    assert json.loads(choice["message"]["content"])["sky"] in ("blue", "grey")


def test_what_is_wrong_with_either_is_told_by_its_name(client: openai.OpenAI, mark: str) -> None:
    wrong = {"type": "object", "properties": {"a": {"type": "objekt"}}}
    broken = {"type": "json_schema", "json_schema": {"name": "a", "schema": wrong}}
    function = {"name": "clock", "strict": True, "parameters": wrong}
    for param, fields in (
        ("response_format.json_schema.schema", {"response_format": broken}),
        ("tools", {"tools": [{"type": "function", "function": function}]}),
    ):
        with pytest.raises(openai.BadRequestError) as error:
            client.post("/chat/completions", body={**asked(mark, 0), **fields}, cast_to=object)
        assert (error.value.param, error.value.code) == (param, "invalid_grammar")
