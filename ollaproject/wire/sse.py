"""Server-sent events: written as OpenAI and Anthropic write them, and read from bytes as they come."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

CONTENT_TYPE = b"text/event-stream"
DONE = b"data: [DONE]\n\n"
# Lines end with LF, CRLF or CR, and a blank one ends an event (WHATWG HTML, 9.2.5).
BLANK_LINE = re.compile(rb"\r\n\r\n|\n\n|\r\r|\n\r\n|\r\n\n")
MAX_EVENT_BYTES = 16 * 2**20


class EventTooLong(Exception):
    """An event that does not come to its end."""


class Event(NamedTuple):
    """What was read: `name` is empty unless the event has one."""

    name: str
    data: bytes


def event(payload: Any) -> bytes:
    """One event. Some clients strip exactly `data: ` and split on a blank line: space and LFs stay."""
    return b"data: " + json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def encoded_event(data: bytes, *, name: bytes = b"") -> bytes:
    """One event of text that is encoded already; its lines stay lines."""
    named = b"event: " + name + b"\n" if name else b""
    return named + b"".join(b"data: " + line + b"\n" for line in data.splitlines()) + b"\n"


def typed_event(payload: dict[str, Any]) -> bytes:
    """One event that is called what its `type` says, as Anthropic and OpenAI's Responses have them."""
    return b"event: " + str(payload["type"]).encode() + b"\n" + event(payload)


class Reader:
    """Events out of pieces of a body, wherever they were cut."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    def feed(self, piece: bytes) -> list[Event]:
        """The events that are whole now. Raises EventTooLong."""
        held = self._held + piece
        start, events = 0, []
        # A CR at the very end may be half of a CRLF: it is not looked at before the next byte is there.
        end = len(held) - 1 if held.endswith(b"\r") else len(held)
        for blank in BLANK_LINE.finditer(held, max(0, len(self._held) - 3), end):
            events += _read(held[start : blank.start()])
            start = blank.end()
        self._held = held[start:]
        if len(self._held) > MAX_EVENT_BYTES:
            raise EventTooLong
        return events

    def rest(self) -> list[Event]:
        """An event at the end of a body that lacks its blank line: some servers leave it out."""
        held, self._held = self._held, b""
        return _read(held.strip(b"\r\n"))


def _read(block: bytes) -> list[Event]:
    """None for comments and for what has no data."""
    name, data = "", []
    for line in block.splitlines():
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.decode("utf-8", "replace")
    return [Event(name, b"\n".join(data))] if data else []
