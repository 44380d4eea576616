"""What a fake upstream answers on Anthropic's routes, and chat streams with thoughts and calls.

The shapes are those of vllm-mlx and of servers that speak OpenAI's API only.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.fakes import answers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tests.fakes.answers import Answer, SeenRequest, Step

USAGE = {"prompt_tokens": 30, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 20}}


def typed(payload: dict[str, Any]) -> bytes:
    return f"event: {payload['type']}\ndata: {json.dumps(payload)}\n\n".encode()


def message(request: SeenRequest) -> Iterable[Step]:
    """A message of three words, streamed when asked to be."""
    asked = request.json()
    usage = {"input_tokens": 10, "output_tokens": 3}
    whole = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": asked["model"],
        "content": [{"type": "text", "text": "MLX is fast."}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": usage,
    }
    if not asked.get("stream"):
        return answers.respond(whole)(request)
    start = {**whole, "content": [], "stop_reason": None, "usage": {"input_tokens": 10, "output_tokens": 0}}
    text = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
        for word in ("MLX", " is", " fast.")
    ]
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *text,
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 3},
        },
        {"type": "message_stop"},
    ]
    return answers.sse([typed(event) for event in events])(request)


def chat_stream(deltas: Sequence[dict[str, Any]], finish_reason: str = "stop") -> list[bytes]:
    """Chunks of a chat, with usage at the end."""
    fixed = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m1"}

    def chunks() -> Iterator[dict[str, Any]]:
        for delta in ({"role": "assistant", "content": ""}, *deltas):
            yield {**fixed, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        yield {**fixed, "choices": [{"index": 0, "delta": {}, "finish_reason": finish_reason}]}
        yield {**fixed, "choices": [], "usage": USAGE}

    return [*(answers.event(chunk) for chunk in chunks()), b"data: [DONE]\n\n"]


def chat_says(message: dict[str, Any], finish_reason: str = "stop") -> Answer:
    """A whole chat answer."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish_reason}
    return answers.respond(
        {"id": "chatcmpl-1", "object": "chat.completion", "choices": [choice], "usage": USAGE}
    )
