"""count_tokens: the request that has a server count, and an estimate for when none can."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec

from ollaproject.wire.unreadable import UNREADABLE

if TYPE_CHECKING:
    from ollaproject.wire.anthropic.request import Asked

Json = dict[str, Any]
CHARACTERS_PER_TOKEN = 3.5
"""Of English prose and code, with the tokenizers of today's models; documented in docs/anthropic.md."""
TOKENS_PER_MESSAGE = 4
TOKENS_PER_IMAGE = 1600
"""What Anthropic counts for the largest picture that it does not scale down."""
COUNTED_FIELDS = ("messages", "tools")
PASSED_ON = (
    "model",
    "messages",
    "tools",
    "tool_choice",
    "chat_template_kwargs",
    "reasoning_effort",
    "continue_final_message",
    "add_generation_prompt",
)


class _Counted(msgspec.Struct):
    count: int | None = None
    input_tokens: int | None = None
    tokens: list[Any] | None = None


_decode = msgspec.json.Decoder(_Counted).decode


def tokenize_request(asked: Asked) -> Json:
    """What vLLM's /tokenize counts exactly: the conversation as the model's own template writes it."""
    wanted = {name: asked.chat[name] for name in PASSED_ON if name in asked.chat}
    return {"add_generation_prompt": True, **wanted}


def counted(body: bytes) -> int | None:
    """The count in a server's answer: Anthropic's own, vLLM's, or a list of tokens. None: there is none."""
    try:
        found = _decode(body)
    except UNREADABLE:
        return None
    if found.input_tokens is not None:
        return found.input_tokens
    if found.count is not None:
        return found.count
    return len(found.tokens) if found.tokens else None


def estimate(asked: Asked) -> int:
    """From the length of the texts: right within a quarter for most, never 0."""
    characters = images = 0
    todo: list[Any] = [asked.chat.get(name) for name in COUNTED_FIELDS]
    while todo:
        value = todo.pop()
        if isinstance(value, str):
            characters += len(value)
        elif isinstance(value, list):
            todo += value
        elif isinstance(value, dict) and "image_url" in value:
            images += 1
        elif isinstance(value, dict):
            todo += value.values()
            characters += sum(map(len, value)) if "parameters" in value else 0
    overhead = TOKENS_PER_MESSAGE * len(asked.chat["messages"]) + TOKENS_PER_IMAGE * images
    return math.ceil(characters / CHARACTERS_PER_TOKEN) + overhead
