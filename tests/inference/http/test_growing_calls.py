"""Calls in every notation that mlx-lm reads come in pieces as the model writes them, and say what the
whole says.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from typing import TYPE_CHECKING, Any

import pytest
from mlx_lm import tool_parsers

from inference.http.call_notations import HEADS, NOTATIONS, growing_of, parse_with
from inference.http.growing_call import arguments_of
from inference.http.speech import Manner, Said, Speech

if TYPE_CHECKING:
    from collections.abc import Iterable

TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "write_file",
            "parameters": {
                "type": "object",
                "properties": {
                    "path": {"type": "string"},
                    "text": {"type": "string"},
                    "lines": {"type": "integer"},
                },
            },
        },
    }
]
# What a model says between its markers.
WRITTEN = {
    "function_gemma": "call:write_file{path:<escape>a, b.txt<escape>,text:<escape>x;y<escape>,lines:3}",
    "gemma4": 'call:write_file{path:<|"|>a, b.txt<|"|>,text:<|"|>x}y<|"|>,lines:3}',
    "glm47": (
        "write_file\n<arg_key>path</arg_key>\n<arg_value>a, b.txt</arg_value>\n"
        "<arg_key>text</arg_key>\n<arg_value>x}y</arg_value>\n"
        "<arg_key>lines</arg_key>\n<arg_value>3</arg_value>\n"
    ),
    "json_tools": '\n{"name": "write_file", "arguments": {"path": "a, b.txt", "text": "x}y", "lines": 3}}\n',
    "kimi_k2": (
        "<|tool_call_begin|>functions.write_file:0<|tool_call_argument_begin|>"
        '{"path": "a, b.txt", "text": "x}y", "lines": 3}<|tool_call_end|>'
        "<|tool_call_begin|>functions.write_file:1<|tool_call_argument_begin|>"
        '{"path": "b", "lines": 4}<|tool_call_end|>'
    ),
    "kimi_k3": (
        '<|open|>call tool="write_file" index="1"<|sep|>'
        '<|open|>argument key="path" type="string"<|sep|>a, b.txt<|close|>argument<|sep|>'
        '<|open|>argument key="text" type="string"<|sep|>x}y<|close|>argument<|sep|>'
        '<|open|>argument key="lines" type="number"<|sep|>3<|close|>argument<|sep|><|close|>call<|sep|>'
        '<|open|>call tool="write_file" index="2"<|sep|>'
        '<|open|>argument key="path" type="string"<|sep|>b<|close|>argument<|sep|><|close|>call<|sep|>'
    ),
    "longcat": (
        "write_file\n<longcat_arg_key>path</longcat_arg_key>\n"
        "<longcat_arg_value>a, b.txt</longcat_arg_value>\n"
        "<longcat_arg_key>text</longcat_arg_key>\n<longcat_arg_value>x}y</longcat_arg_value>\n"
        "<longcat_arg_key>lines</longcat_arg_key>\n<longcat_arg_value>3</longcat_arg_value>\n"
    ),
    "minicpm5": (
        '"write_file"><param name="path">a, b.txt</param><param name="text"><![CDATA[x}y]]></param>'
        '<param name="lines">3</param>'
    ),
    "minimax_m2": (
        '\n<invoke name="write_file">\n<parameter name="path">a, b.txt</parameter>\n'
        '<parameter name="text">x}y</parameter>\n<parameter name="lines">3</parameter>\n</invoke>\n'
        '<invoke name="write_file">\n<parameter name="path">b</parameter>\n</invoke>\n'
    ),
    "mistral": (
        'write_file[ARGS]{"path": "a, b.txt", "text": "x}y", "lines": 3}'
        'write_file[ARGS]{"path": "b", "lines": 4}'
    ),
    "muse_spark": (
        '<atem:invoke name="write_file"><atem:parameter name="path">a, b.txt</atem:parameter>'
        '<atem:parameter name="text">x}y</atem:parameter><atem:parameter name="lines">3</atem:parameter>'
        "</atem:invoke>"
    ),
    "pythonic": '[write_file(path="a, b.txt", text="x}y", lines=3)]',
    "qwen3_coder": (
        "\n<function=write_file>\n<parameter=path>\na, b.txt\n</parameter>\n"
        "<parameter=text>\nx}y\n</parameter>\n"
        "<parameter=lines>\n3\n</parameter>\n</function>\n"
    ),
}
WRITTEN["laguna"] = WRITTEN["glm47"]
GROWING = sorted(HEADS.keys() | NOTATIONS.keys())


def manner(notation: str, **fields: Any) -> Manner:
    parser = importlib.import_module(f"mlx_lm.tool_parsers.{notation}")
    parse = parse_with(parser.parse_tool_call, TOOLS)
    markers = (parser.tool_call_start, parser.tool_call_end)
    return Manner(call=markers, parse=parse, grows=growing_of(notation, parse), **fields)


def whole_calls(notation: str) -> list[tuple[str, Any]]:
    parsed = manner(notation).parse(WRITTEN[notation].strip())
    return [
        (call["name"], json.loads(arguments_of(call)))
        for call in (parsed if isinstance(parsed, list) else [parsed])
    ]


def together(said: Iterable[Said]) -> list[tuple[str, str]]:
    calls: dict[int, list[str]] = {}
    for call in (call for one in said for call in one.calls):
        known = calls.setdefault(call.place, ["", ""])
        known[0] += call.name
        known[1] += call.arguments
    return [(name, arguments) for name, arguments in calls.values()]


def test_every_notation_that_mlx_lm_reads_is_known_here() -> None:
    there = {module.name for module in pkgutil.iter_modules(tool_parsers.__path__)}
    assert there == WRITTEN.keys()
    assert there == {*GROWING, "pythonic"}


@pytest.mark.parametrize("notation", sorted(WRITTEN))
@pytest.mark.parametrize("size", [1, 7, 10**6])
def test_a_call_says_what_its_parser_says_however_it_is_cut(notation: str, size: int) -> None:
    how = manner(notation)
    assert how.call is not None
    text = f"I look.{how.call[0]}{WRITTEN[notation]}{how.call[1]}"
    speech = Speech(how)

    said = [speech.feed(text[start : start + size]) for start in range(0, len(text), size)]
    said.append(speech.feed("", last=True))

    assert "".join(one.content for one in said) == "I look."
    assert [(name, json.loads(arguments)) for name, arguments in together(said)] == whole_calls(notation)


@pytest.mark.parametrize("notation", GROWING)
def test_arguments_come_before_the_call_is_whole(notation: str) -> None:
    speech = Speech(manner(notation))
    assert manner(notation).call
    start = manner(notation).call[0]  # type: ignore[index]
    written = WRITTEN[notation]
    third = written.index("lines")

    said = [speech.feed(start), *(speech.feed(one) for one in written[:third])]

    ((name, arguments),) = together(said)
    assert name == "write_file"
    assert arguments.startswith('{"path": "a, b.txt", "text": "x')


@pytest.mark.parametrize("notation", sorted(WRITTEN))
def test_a_call_that_is_cut_never_looks_whole(notation: str) -> None:
    how = manner(notation, parallel=False)
    assert how.call is not None
    if not how.call[1]:
        pytest.skip("nothing marks the end of its calls")
    written = WRITTEN[notation]
    for length in range(1, written.index("lines")):
        speech = Speech(how)
        said = [speech.feed(how.call[0]), speech.feed(written[:length], last=True, is_cut=True)]
        assert not said[-1].is_over
        for _, arguments in together(said):
            with pytest.raises(json.JSONDecodeError):
                json.loads(arguments)
