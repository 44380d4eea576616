"""How the served model speaks, from its tokenizer: where its thoughts and calls begin and end, and how a call
is written.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from inference.http.call_notations import JSON, growing_of, notation_of, parse_with
from inference.http.fields import unsupported
from inference.http.speech import Manner

if TYPE_CHECKING:
    from mlx_lm.tokenizer_utils import TokenizerWrapper

    from inference.http.tools import Tools


def manner_of(tokenizer: TokenizerWrapper, tools: Tools, prompt: list[int]) -> Manner | None:
    """None when everything that the model says is content. ApiError for tools that it does not know."""
    if tools.offered and not tokenizer.has_tool_calling:
        message = (
            "This model knows no tools: its chat template has no calls that can be read. Leave them out."
        )
        raise unsupported("tools", message)
    thought = (tokenizer.think_start, tokenizer.think_end) if tokenizer.has_thinking else None
    if thought is None and not tools.offered:
        return None
    reads_calls = bool(tools.offered) and not tools.forced
    notation = notation_of(tokenizer.tool_parser) if reads_calls else JSON
    parse = parse_with(tokenizer.tool_parser, tools.offered) if reads_calls else json.loads
    return Manner(
        thought=thought,
        call=(tokenizer.tool_call_start, tokenizer.tool_call_end) if reads_calls else None,
        is_thinking=_is_thinking(tokenizer, prompt),
        calls_only=tools.forced,
        parallel=tools.parallel,
        parse=parse,
        marks=_marks(tokenizer),
        grows=growing_of(notation, parse) if tools.offered else None,
    )


def call_opening(tokenizer: TokenizerWrapper) -> list[int]:
    """What to put before a call that a model is made to write, so that it knows it is one."""
    if _writes_json(tokenizer):
        return list(tokenizer.encode(f"{tokenizer.tool_call_start}\n", add_special_tokens=False))
    return []  # its own calls are no JSON, and this one will be


class Fence(NamedTuple):
    """What stands before and behind the calls that a model makes: text, and its tokens. Behind those of
    Mistral stands nothing. `holds_json`: what is between is one call in JSON.
    """

    start: str
    end: str
    start_tokens: tuple[int, ...]
    end_tokens: tuple[int, ...]
    holds_json: bool

    @property
    def is_strict(self) -> bool:
        """Whether a grammar can see to it what stands between: it is JSON, and two tokens say where."""
        return self.holds_json and len(self.start_tokens) == len(self.end_tokens) == 1


def fence_of(tokenizer: TokenizerWrapper) -> Fence:
    """For a model that knows tools."""
    return Fence(
        tokenizer.tool_call_start,
        tokenizer.tool_call_end,
        tuple(tokenizer.tool_call_start_tokens),
        tuple(tokenizer.tool_call_end_tokens),
        _writes_json(tokenizer),
    )


def _writes_json(tokenizer: TokenizerWrapper) -> bool:
    return notation_of(tokenizer.tool_parser) == JSON


def _is_thinking(tokenizer: TokenizerWrapper, prompt: list[int]) -> bool:
    if not tokenizer.has_thinking:
        return False
    return bool(tokenizer.rfind_think_start(prompt) > tokenizer.rfind_think_end(prompt))


def _marks(tokenizer: TokenizerWrapper) -> frozenset[int]:
    groups = (
        tokenizer.think_start_tokens,
        tokenizer.think_end_tokens,
        tokenizer.tool_call_start_tokens,
        tokenizer.tool_call_end_tokens,
    )
    return frozenset(token for group in groups for token in group or ())
