"""How models write calls, by the parsers of mlx-lm that read them, and how far those can be given out early.

`pythonic` is read whole: cut short, its text may be another call.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from inference.http.growing_call import Growing, JsonCalls, MemberCalls, Notation

if TYPE_CHECKING:
    from collections.abc import Callable

    Parse = Callable[[str], Any]

JSON = "json_tools"
# The name comes first in what models are taught to write, and in our own grammar.
JSON_HEAD = re.compile(
    r'\A\s*\{\s*"name"\s*:\s*(?P<name>"(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*(?=\{)', re.DOTALL
)
HEADS: dict[str, re.Pattern[str]] = {
    JSON: JSON_HEAD,
    "mistral": re.compile(r"(?P<name>[\w-]+)\s*\[ARGS\]\s*(?=\{)"),
    "kimi_k2": re.compile(
        r"(?P<id>(?:functions\.)?(?P<name>[^\s<|>]+?):\d+)\s*<\|tool_call_argument_begin\|>\s*(?=\{)"
    ),
}
NOTATIONS: dict[str, Notation] = {
    "function_gemma": Notation(",", "}"),
    "gemma4": Notation(",", "}"),
    "glm47": Notation("</arg_value>"),
    "kimi_k3": Notation("<|close|>argument<|sep|>", "<|close|>call<|sep|>"),
    "laguna": Notation("</arg_value>"),
    "longcat": Notation("</longcat_arg_value>"),
    "minicpm5": Notation("</param>"),
    "minimax_m2": Notation("</parameter>", "</invoke>"),
    "muse_spark": Notation("</atem:parameter>"),
    "qwen3_coder": Notation("</parameter>", "</function>"),
}


def notation_of(parser: Any) -> str:
    """The name of the notation that `parser`, one of mlx-lm's, reads."""
    return str(parser.__module__.rpartition(".")[2])


def parse_with(parser: Any, tools: list[dict[str, Any]]) -> Parse:
    """`parser`, which types arguments as `tools` declare them. Its parameters have other names in each."""
    return lambda text: parser(text, tools)


def growing_of(name: str, parse: Parse) -> Callable[[], Growing] | None:
    """How to read calls in the notation `name` as they grow; None when they have to be whole."""
    if name in HEADS:
        return partial(JsonCalls, HEADS[name])
    if name in NOTATIONS:
        return partial(MemberCalls, NOTATIONS[name], parse)
    return None
