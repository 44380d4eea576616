"""A chat stream as the events of another API: what Anthropic's messages and OpenAI's Responses share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from ollaproject.wire import sse
from ollaproject.wire.blocks import Blocks
from ollaproject.wire.chat import TranslationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ollaproject.wire.blocks import BlockEvent
    from ollaproject.wire.chat import Choice, Completion, Usage

Json = dict[str, Any]


class EventStream(ABC):
    """One answer. `usage` is what is known before the first token; the final count comes at the end."""

    def __init__(self, usage: Usage | None) -> None:
        self._usage = usage
        self._blocks = Blocks()
        self._end: Choice | None = None

    def feed(self, chunk: Completion) -> bytes:
        """The events that follow from a chunk. Raises TranslationError."""
        events = self._begin()
        if chunk.usage is not None:
            self._usage = chunk.usage
        if chunk.choices:
            choice = chunk.choices[0]
            events += self._told(self._blocks.feed(choice.delta))
            if choice.finish_reason:
                self._end = choice
        return self._written(events)

    def finish(self) -> bytes:
        """The last events. Raises TranslationError when the chunks have told of no end."""
        if self._end is None:
            raise TranslationError("ended its stream without saying why")
        events = self._begin() + self._told(self._blocks.finish())
        return self._written([*events, *self._last(self._end)])

    @abstractmethod
    def _begin(self) -> list[Json]:
        """What comes before everything else, once; empty afterwards."""

    @abstractmethod
    def _events(self, happened: BlockEvent) -> list[Json]:
        """What is said of one step of a block."""

    @abstractmethod
    def _last(self, end: Choice) -> list[Json]:
        """What comes when all blocks are closed. `end` is the choice that said why it ended."""

    def _written(self, events: Iterable[Json]) -> bytes:
        return b"".join(map(sse.typed_event, events))

    def _told(self, happened: Iterable[BlockEvent]) -> list[Json]:
        return [event for one in happened for event in self._events(one)]
