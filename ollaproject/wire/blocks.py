"""A chat stream as a row of blocks: thoughts, text and calls, each opened, grown and closed before the next.

OpenAI's chunks may grow several calls by turns; Anthropic's messages and OpenAI's Responses have one open
block at a time. What belongs to a later block waits until the one before it is whole.
"""

from __future__ import annotations

import json
import secrets
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from ollaproject.wire.chat import TranslationError
from ollaproject.wire.unreadable import UNREADABLE

if TYPE_CHECKING:
    from ollaproject.wire.chat import Call, Message


class Kind(Enum):
    THOUGHT = "thought"
    TEXT = "text"
    CALL = "call"


class Step(Enum):
    """What happens to a block."""

    OPENED = "opened"
    GREW = "grew"
    CLOSED = "closed"


@dataclass(slots=True, eq=False)
class Block:
    """`index` is its place in the answer, `text` what has been given out; of a call, its arguments."""

    kind: Kind
    id: str = ""
    name: str = ""
    index: int = -1
    text: str = ""
    waiting: str = ""
    closed: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether nothing more can belong to it once another block has begun."""
        return self.kind is not Kind.CALL or is_json_object(self.text)


class BlockEvent(NamedTuple):
    """`text` is what the block grew by."""

    step: Step
    block: Block
    text: str = ""


class Blocks:
    """One choice of a stream."""

    def __init__(self) -> None:
        self._row: deque[Block] = deque()
        self._calls: dict[int, Block] = {}
        self.opened = 0
        """How many blocks have begun."""

    def feed(self, delta: Message) -> list[BlockEvent]:
        """What happens now. Raises TranslationError when a call goes on after its end."""
        if delta.thought:
            self._talk(Kind.THOUGHT, delta.thought)
        if delta.text:
            self._talk(Kind.TEXT, delta.text)
        for place, call in enumerate(delta.tool_calls or ()):
            self._call(call, place)
        return self._advance(last=False)

    def finish(self) -> list[BlockEvent]:
        """What is left when nothing more comes. Raises TranslationError for a call without a name."""
        return self._advance(last=True)

    def _talk(self, kind: Kind, text: str) -> None:
        if not self._row or self._row[-1].kind is not kind:
            self._row.append(Block(kind))
        self._row[-1].waiting += text

    def _call(self, call: Call, place: int) -> None:
        index = call.index if call.index is not None else place
        block = self._calls.get(index)
        if block is None:
            block = self._calls[index] = Block(Kind.CALL)
            self._row.append(block)
        grown = arguments_of(call)
        if block.closed and grown.strip():
            raise TranslationError(f"went on with the call of {block.name!r} after its end")
        block.id = block.id or call.id or ""
        block.name = block.name or call.function.name or ""
        block.waiting += grown

    def _advance(self, *, last: bool) -> list[BlockEvent]:
        events: list[BlockEvent] = []
        while self._row:
            block = self._row[0]
            if block.index < 0:
                if block.kind is Kind.CALL and not block.name and not last:
                    break
                events.append(self._open(block))
            if block.waiting:
                events.append(BlockEvent(Step.GREW, block, block.waiting))
                block.text += block.waiting
                block.waiting = ""
            if not last and (len(self._row) == 1 or not block.is_whole):
                break
            block.closed = True
            events.append(BlockEvent(Step.CLOSED, self._row.popleft()))
        return events

    def _open(self, block: Block) -> BlockEvent:
        if block.kind is Kind.CALL:
            if not block.name:
                raise TranslationError("called a function without a name")
            block.id = block.id or new_call_id()
        block.index = self.opened
        self.opened += 1
        return BlockEvent(Step.OPENED, block)


def whole_blocks(message: Message) -> list[Block]:
    """The blocks of a message that is not streamed. Raises TranslationError as a stream does."""
    calls = message.tool_calls or []
    for place, call in enumerate(calls):
        call.index = place
    blocks = Blocks()
    return [event.block for event in [*blocks.feed(message), *blocks.finish()] if event.step is Step.CLOSED]


def arguments_of(call: Call) -> str:
    """As JSON in a string: some servers give the object itself."""
    arguments = call.function.arguments
    return arguments if isinstance(arguments, str) else json.dumps(arguments) if arguments else ""


def new_call_id() -> str:
    return f"call_{secrets.token_hex(12)}"


def is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except UNREADABLE:
        return False
