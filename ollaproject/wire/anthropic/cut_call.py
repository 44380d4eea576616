"""The arguments of a call that the limit of tokens has cut: those that are whole.

Anthropic's messages have no place for half an object. A client sees by the reason `max_tokens` that the
call is not whole.
"""

from __future__ import annotations

import json
import re
from typing import Any

_decode = json.JSONDecoder().raw_decode
KEY_BEGINS = re.compile(r"[\s,{]*(?=\")")
COLON = re.compile(r"\s*:\s*")
MEMBER_ENDS = re.compile(r"\s*[,}]")


def whole_members(text: str) -> dict[str, Any]:
    """The members of the JSON object in `text` that are known to be whole. A number at the end is not: more
    digits may have been to come.
    """
    members: dict[str, Any] = {}
    at = 0
    while begin := KEY_BEGINS.match(text, at):
        try:
            key, at = _decode(text, begin.end())
            colon = COLON.match(text, at)
            value, at = _decode(text, colon.end() if colon else len(text))
        except ValueError:
            break
        if not MEMBER_ENDS.match(text, at):
            break
        members[key] = value
    return members
