"""A chat completion as Anthropic's message: its blocks, its end and its usage."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from ollaproject.wire.anthropic.cut_call import arguments_in
from ollaproject.wire.blocks import Block, Kind, whole_blocks

if TYPE_CHECKING:
    from ollaproject.wire.chat import Choice, Completion, Usage

Json = dict[str, Any]
STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


def message_of(completion: Completion, *, model: str, hides_thoughts: bool = False) -> Json:
    """A call has those of its arguments that are whole. Raises TranslationError for one without a name."""
    choice = completion.choices[0]
    blocks = whole_blocks(choice.message)
    reason, sequence = stopped(choice, called=any(block.kind is Kind.CALL for block in blocks))
    return {
        **opening(model, new_id()),
        "content": [_content(block, hides_thoughts=hides_thoughts) for block in blocks],
        "stop_reason": reason,
        "stop_sequence": sequence,
        "usage": usage_of(completion.usage),
    }


def new_id() -> str:
    return f"msg_{secrets.token_hex(12)}"


def opening(model: str, name: str) -> Json:
    """What a message is before anything has been said. `name` is its id."""
    return {
        "id": name,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def stopped(choice: Choice, *, called: bool) -> tuple[str, str | None]:
    """The reason, and the stop sequence where the server says which one it was."""
    if choice.finish_reason == "stop" and isinstance(choice.stop_reason, str) and choice.stop_reason:
        return "stop_sequence", choice.stop_reason
    if called and choice.finish_reason == "stop":
        return "tool_use", None  # some servers say `stop` after calls
    return STOP_REASONS.get(choice.finish_reason or "", "end_turn"), None


def usage_of(usage: Usage | None) -> Json:
    """Anthropic counts what was read from a cache apart from the rest of the input."""
    prompt, cached, completion = (usage.prompt, usage.cached, usage.completion) if usage else (0, 0, 0)
    return {
        "input_tokens": max(prompt - cached, 0),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": completion,
    }


def _content(block: Block, *, hides_thoughts: bool) -> Json:
    if block.kind is Kind.TEXT:
        return {"type": "text", "text": block.text}
    if block.kind is Kind.THOUGHT:
        return {"type": "thinking", "thinking": "" if hides_thoughts else block.text, "signature": ""}
    return {"type": "tool_use", "id": block.id, "name": block.name, "input": arguments_in(block.text)}
