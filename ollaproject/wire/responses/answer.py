"""A chat completion as OpenAI's response: its items, its status and its usage."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

from ollaproject.wire.blocks import Block, Kind, whole_blocks

if TYPE_CHECKING:
    from ollaproject.wire.chat import Completion, Usage
    from ollaproject.wire.responses.request import Asked

Json = dict[str, Any]
INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
PREFIXES = {Kind.THOUGHT: "rs", Kind.TEXT: "msg", Kind.CALL: "fc"}
REPEATED: Json = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "reasoning": {"effort": None, "summary": None},
    "user": None,
}
"""What a response repeats of its request, with what stands there when the request said nothing."""


def response_of(completion: Completion, asked: Asked) -> Json:
    choice = completion.choices[0]
    blocks = whole_blocks(choice.message)
    cut = blocks[-1] if blocks and choice.finish_reason in INCOMPLETE else None
    items = [
        item_of(block, item_id(block), asked, status=end_status(is_cut=block is cut)) for block in blocks
    ]
    return ended(opening(asked), items, choice.finish_reason, completion.usage)


def opening(asked: Asked) -> Json:
    """A response of which nothing has been said yet."""
    given = {name: asked.given.get(name) for name in REPEATED}
    repeated = {name: REPEATED[name] if value is None else value for name, value in given.items()}
    return {
        "id": f"resp_{secrets.token_hex(16)}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": asked.model,
        "output": [],
        "previous_response_id": None,
        "store": False,
        "truncation": "disabled",
        **repeated,
        "usage": None,
    }


def ended(response: Json, items: list[Json], finish_reason: str | None, usage: Usage | None) -> Json:
    why = INCOMPLETE.get(finish_reason or "")
    return {
        **response,
        "status": "incomplete" if why else "completed",
        "incomplete_details": {"reason": why} if why else None,
        "output": items,
        "usage": usage_of(usage),
    }


def usage_of(usage: Usage | None) -> Json | None:
    if usage is None:
        return None
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt + usage.completion,
    }


def item_id(block: Block) -> str:
    return f"{PREFIXES[block.kind]}_{secrets.token_hex(16)}"


def end_status(*, is_cut: bool) -> str:
    """How an item has ended. `is_cut`: it is the last one of a response that is incomplete."""
    return "incomplete" if is_cut else "completed"


def item_of(block: Block, name: str, asked: Asked, *, status: str) -> Json:
    """The item as it is now: in a stream, empty at first."""
    if block.kind is Kind.CALL:
        return {
            "id": name,
            "type": "function_call",
            "status": status,
            "call_id": block.id,
            **called(block, asked),
            "arguments": block.text,
        }
    parts = [] if status == "in_progress" else [part_of(block)]
    if block.kind is Kind.THOUGHT:
        return {"id": name, "type": "reasoning", "summary": [], "content": parts, "status": status}
    return {"id": name, "type": "message", "role": "assistant", "status": status, "content": parts}


def called(block: Block, asked: Asked) -> Json:
    """The name of a call's function, and its namespace if it has one."""
    member = asked.members.get(block.name)
    return {"name": block.name} if member is None else member._asdict()


def part_of(block: Block) -> Json:
    """The one part of a message or of a thought."""
    if block.kind is Kind.THOUGHT:
        return {"type": "reasoning_text", "text": block.text}
    return {"type": "output_text", "text": block.text, "annotations": [], "logprobs": []}
