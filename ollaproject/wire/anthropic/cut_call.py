"""The arguments of a call whose JSON does not end well: those that are whole.

The limit of tokens has cut it, or the model has ended by itself in the middle. Anthropic's messages have no
place for half an object. What a tool misses it says in its result, and the model calls once more: that is of
more use to a client than an error, which it would answer with the same question again.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ollaproject.wire.unreadable import UNREADABLE

_decode = json.JSONDecoder().raw_decode
OBJECT_BEGINS = re.compile(r"\s*\{\s*(?:[\"}]|\Z)")
KEY_BEGINS = re.compile(r"[\s,{]*(?=\")")
COLON = re.compile(r"\s*:\s*")
MEMBER_ENDS = re.compile(r"\s*[,}]")


def arguments_in(text: str) -> dict[str, Any]:
    """The JSON object in `text`, as much of it as is whole; empty for everything else."""
    try:
        arguments = json.loads(text)
    except UNREADABLE:
        return whole_members(text)
    return arguments if isinstance(arguments, dict) else {}


def begins_object(text: str) -> bool:
    """Whether a JSON object begins like this. Readers of a stream's half JSON fail at anything else."""
    return OBJECT_BEGINS.match(text) is not None


def whole_members(text: str) -> dict[str, Any]:
    """The members of the JSON object in `text` that are known to be whole. A number at the end is not: more
    digits may have been to come.
    """
    members: dict[str, Any] = {}
    if not begins_object(text):
        return members
    at = 0
    while begin := KEY_BEGINS.match(text, at):
        try:
            key, at = _decode(text, begin.end())
            colon = COLON.match(text, at)
            value, at = _decode(text, colon.end() if colon else len(text))
        except UNREADABLE:
            break
        if not MEMBER_ENDS.match(text, at):
            break
        members[key] = value
    return members
