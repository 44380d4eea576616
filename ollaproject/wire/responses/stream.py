"""A chat stream as the events of a response, in their order and numbered.

created and in_progress, then of each item output_item.added, its parts, deltas and ends, and
output_item.done; at the end completed, incomplete or failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ollaproject.wire import sse
from ollaproject.wire.blocks import Block, BlockEvent, Blocks, Kind, Step
from ollaproject.wire.chat import TranslationError
from ollaproject.wire.responses.answer import ended, item_id, item_of, opening, part_of

if TYPE_CHECKING:
    from ollaproject.wire.chat import Completion, Usage
    from ollaproject.wire.responses.request import Asked

Json = dict[str, Any]
GROWTH = {
    Kind.TEXT: "response.output_text",
    Kind.THOUGHT: "response.reasoning_text",
    Kind.CALL: "response.function_call_arguments",
}


class ResponseStream:
    """One response."""

    def __init__(self, asked: Asked, *, usage: Usage | None = None) -> None:
        self._response = opening(asked)
        self._usage = usage
        self._blocks = Blocks()
        self._items: list[Json] = []
        self._item_id = ""
        self._number = 0
        self._finish_reason: str | None = None

    def feed(self, chunk: Completion) -> bytes:
        """The events that follow from a chunk. Raises TranslationError."""
        events = self._begin()
        if chunk.usage is not None:
            self._usage = chunk.usage
        if chunk.choices:
            choice = chunk.choices[0]
            events += self._told(self._blocks.feed(choice.delta))
            self._finish_reason = choice.finish_reason or self._finish_reason
        return self._numbered(events)

    def finish(self) -> bytes:
        """The last events. Raises TranslationError when the chunks have told of no end."""
        if self._finish_reason is None:
            raise TranslationError("ended its stream without saying why")
        events = self._begin() + self._told(self._blocks.finish())
        response = ended(self._response, self._items, self._finish_reason, self._usage)
        return self._numbered([*events, {"type": f"response.{response['status']}", "response": response}])

    def fail(self, message: str, code: str | None) -> bytes:
        """What a stream says when it cannot go on."""
        error = {"code": code or "server_error", "message": message}
        failed = {**self._response, "status": "failed", "error": error, "output": self._items}
        return self._numbered(
            [
                *self._begin(),
                {"type": "error", **error, "param": None},
                {"type": "response.failed", "response": failed},
            ]
        )

    def _begin(self) -> list[Json]:
        if self._number:
            return []
        kinds = ("response.created", "response.in_progress")
        return [{"type": kind, "response": self._response} for kind in kinds]

    def _numbered(self, events: list[Json]) -> bytes:
        written = []
        for event in events:
            written.append(sse.typed_event({**event, "sequence_number": self._number}))
            self._number += 1
        return b"".join(written)

    def _told(self, happened: list[BlockEvent]) -> list[Json]:
        return [event for one in happened for event in self._events(one)]

    def _events(self, happened: BlockEvent) -> list[Json]:
        step, block, text = happened
        if step is Step.OPENED:
            self._item_id = item_id(block)
            item = item_of(block, self._item_id, status="in_progress")
            added = {"type": "response.output_item.added", "output_index": block.index, "item": item}
            return [added, *self._part("added", block)]
        if step is Step.GREW:
            logprobs: Json = {"logprobs": []} if block.kind is Kind.TEXT else {}
            return [{"type": f"{GROWTH[block.kind]}.delta", **self._place(block), "delta": text, **logprobs}]
        return self._closed(block)

    def _closed(self, block: Block) -> list[Json]:
        item = item_of(block, self._item_id)
        self._items.append(item)
        whole: Json = (
            {"arguments": block.text, "name": block.name} if block.kind is Kind.CALL else {"text": block.text}
        )
        if block.kind is Kind.TEXT:
            whole["logprobs"] = []
        return [
            {"type": f"{GROWTH[block.kind]}.done", **self._place(block), **whole},
            *self._part("done", block),
            {"type": "response.output_item.done", "output_index": block.index, "item": item},
        ]

    def _part(self, what: str, block: Block) -> list[Json]:
        if block.kind is Kind.CALL:
            return []
        return [{"type": f"response.content_part.{what}", **self._place(block), "part": part_of(block)}]

    def _place(self, block: Block) -> Json:
        place = {"item_id": self._item_id, "output_index": block.index}
        return place if block.kind is Kind.CALL else {**place, "content_index": 0}
