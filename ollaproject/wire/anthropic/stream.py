"""A chat stream as the events of a message, in their order.

message_start, then of each block content_block_start, its deltas and content_block_stop, a ping after the
first start, and at the end message_delta and message_stop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ollaproject.wire.anthropic.answer import new_id, opening, stopped, usage_of
from ollaproject.wire.anthropic.cut_call import begins_object
from ollaproject.wire.blocks import Kind, Step
from ollaproject.wire.event_stream import EventStream

if TYPE_CHECKING:
    from ollaproject.wire.blocks import Block, BlockEvent
    from ollaproject.wire.chat import Choice, Usage
    from ollaproject.wire.event_stream import Json

PING = {"type": "ping"}
DELTAS = {
    Kind.TEXT: ("text_delta", "text"),
    Kind.THOUGHT: ("thinking_delta", "thinking"),
    Kind.CALL: ("input_json_delta", "partial_json"),
}


class MessageStream(EventStream):
    """One message. `name` is its id, a new one by default."""

    def __init__(
        self, *, model: str, usage: Usage | None = None, hides_thoughts: bool = False, name: str = ""
    ) -> None:
        super().__init__(usage)
        self._name = name or new_id()
        self._model = model
        self._hides_thoughts = hides_thoughts
        self._begun = False
        self._pinged = False
        self._called = False

    def _begin(self) -> list[Json]:
        if self._begun:
            return []
        self._begun = True
        return [
            {
                "type": "message_start",
                "message": {**opening(self._model, self._name), "usage": usage_of(self._usage)},
            }
        ]

    def _last(self, end: Choice) -> list[Json]:
        reason, sequence = stopped(end, called=self._called)
        delta = {"stop_reason": reason, "stop_sequence": sequence}
        return [
            {"type": "message_delta", "delta": delta, "usage": usage_of(self._usage)},
            {"type": "message_stop"},
        ]

    def _events(self, happened: BlockEvent) -> list[Json]:
        step, block, text = happened
        if step is Step.OPENED:
            return self._opened(block)
        if step is Step.CLOSED:
            return self._closed(block)
        if block.kind is Kind.THOUGHT and self._hides_thoughts:
            return []
        if block.kind is Kind.CALL and not begins_object(block.text):
            return []
        kind, field = DELTAS[block.kind]
        return [_delta(block, {"type": kind, field: text})]

    def _opened(self, block: Block) -> list[Json]:
        self._called = self._called or block.kind is Kind.CALL
        start = {"type": "content_block_start", "index": block.index, "content_block": _empty(block)}
        if self._pinged:
            return [start]
        self._pinged = True
        return [start, PING]

    def _closed(self, block: Block) -> list[Json]:
        stop = {"type": "content_block_stop", "index": block.index}
        if block.kind is not Kind.THOUGHT:
            return [stop]
        return [_delta(block, {"type": "signature_delta", "signature": ""}), stop]


def _empty(block: Block) -> Json:
    if block.kind is Kind.TEXT:
        return {"type": "text", "text": ""}
    if block.kind is Kind.THOUGHT:
        return {"type": "thinking", "thinking": "", "signature": ""}
    return {"type": "tool_use", "id": block.id, "name": block.name, "input": {}}


def _delta(block: Block, delta: Json) -> Json:
    return {"type": "content_block_delta", "index": block.index, "delta": delta}
