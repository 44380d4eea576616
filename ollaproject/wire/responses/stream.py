"""A chat stream as the events of a response, in their order and numbered.

created and in_progress, then of each item output_item.added, its parts, deltas and ends, and
output_item.done; at the end completed, incomplete or failed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ollaproject.wire import sse
from ollaproject.wire.blocks import Kind, Step
from ollaproject.wire.event_stream import EventStream
from ollaproject.wire.responses.answer import (
    INCOMPLETE,
    called,
    end_status,
    ended,
    item_id,
    item_of,
    opening,
    part_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ollaproject.wire.blocks import Block, BlockEvent
    from ollaproject.wire.chat import Choice, Usage
    from ollaproject.wire.event_stream import Json
    from ollaproject.wire.responses.request import Asked

GROWTH = {
    Kind.TEXT: "response.output_text",
    Kind.THOUGHT: "response.reasoning_text",
    Kind.CALL: "response.function_call_arguments",
}


class ResponseStream(EventStream):
    """One response."""

    def __init__(self, asked: Asked, *, usage: Usage | None = None) -> None:
        super().__init__(usage)
        self._asked = asked
        self._response = opening(asked)
        self._items: list[Json] = []
        self._item_id = ""
        self._number = 0

    @property
    def id(self) -> str:
        """The response's."""
        return str(self._response["id"])

    def fail(self, message: str, code: str | None) -> bytes:
        """What a stream says when it cannot go on."""
        error = {"code": code or "server_error", "message": message}
        failed = {**self._response, "status": "failed", "error": error, "output": self._items}
        return self._written(
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

    def _last(self, end: Choice) -> list[Json]:
        response = ended(self._response, self._items, end.finish_reason, self._usage)
        return [{"type": f"response.{response['status']}", "response": response}]

    def _written(self, events: Iterable[Json]) -> bytes:
        """Each with its number."""
        written = []
        for event in events:
            written.append(sse.typed_event({**event, "sequence_number": self._number}))
            self._number += 1
        return b"".join(written)

    def _events(self, happened: BlockEvent) -> list[Json]:
        step, block, text = happened
        if step is Step.OPENED:
            return self._opened(replace(block, text=""))  # the block has grown meanwhile
        if step is Step.GREW:
            logprobs: Json = {"logprobs": []} if block.kind is Kind.TEXT else {}
            return [{"type": f"{GROWTH[block.kind]}.delta", **self._place(block), "delta": text, **logprobs}]
        return self._closed(block)

    def _opened(self, block: Block) -> list[Json]:
        self._item_id = item_id(block)
        item = item_of(block, self._item_id, self._asked, status="in_progress")
        added = {"type": "response.output_item.added", "output_index": block.index, "item": item}
        return [added, *self._part("added", block)]

    def _closed(self, block: Block) -> list[Json]:
        ends_cut = self._end is not None and self._end.finish_reason in INCOMPLETE
        is_cut = ends_cut and block.index == self._blocks.opened - 1
        item = item_of(block, self._item_id, self._asked, status=end_status(is_cut=is_cut))
        self._items.append(item)
        whole: Json = (
            {"arguments": block.text, "name": called(block, self._asked)["name"]}
            if block.kind is Kind.CALL
            else {"text": block.text}
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
