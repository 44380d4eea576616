"""What a chat model says, taken apart: thoughts, text for the reader, and calls of tools.

It works on text as it grows, and holds back only what may become a marker. A call that cannot be parsed is
shown as the text that it is: nothing that the model said is lost.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from inference.growing_call import GrowingCall

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    State = Literal["thought", "content", "call", "over"]


class ToolCall(NamedTuple):
    """A call, or what one has grown by: then `id` and `name` are empty but for its beginning.

    `arguments` is JSON in a string, as OpenAI has it. `place` counts the calls of a choice.
    """

    place: int
    id: str
    name: str
    arguments: str


class Said(NamedTuple):
    """What a piece of the model's text turned out to be. `is_over`: no more calls are wanted."""

    content: str = ""
    reasoning: str = ""
    calls: tuple[ToolCall, ...] = ()
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Manner:
    """How a model speaks. Markers are None where it has none, or where nobody asked for tools.

    `is_thinking`: the prompt ends inside of a thought. `calls_only`: a grammar makes it say one call and
    nothing else. `parse` turns the text of a call, between the markers, into its name and arguments.
    `marks` are the special tokens that markers are made of. `calls_are_json`: they can be read as they grow.
    """

    thought: tuple[str, str] | None = None
    call: tuple[str, str] | None = None
    is_thinking: bool = False
    calls_only: bool = False
    parallel: bool = True
    parse: Callable[[str], Any] = json.loads
    marks: frozenset[int] = frozenset()
    calls_are_json: bool = False


class Speech:
    """One choice. `elsewhere` is how many characters were not content: thoughts, calls, and markers.

    White space beside a marker belongs to the marker.
    """

    def __init__(self, manner: Manner) -> None:
        self._manner = manner
        self._held = ""
        self._state: State = "thought" if manner.is_thinking else self._after_thought
        self._follows_marker = manner.is_thinking
        self._calls: list[ToolCall] = []
        self._count = 0
        self._growing: GrowingCall | None = None
        self.elsewhere = 0

    @property
    def is_calling(self) -> bool:
        return self._state == "call"

    @property
    def has_called(self) -> bool:
        return self._count > 0

    def feed(self, text: str, *, last: bool = False) -> Said:
        """What is certain now that `text` has come; everything, if it is the last."""
        self._held += text
        content, reasoning = "", ""
        before = None
        while self._held and before != (before := (self._state, len(self._held))):
            if self._state == "thought":
                reasoning += self._think(last=last)
            elif self._state == "content":
                content += self._talk(last=last)
            elif self._state == "call":
                content += self._call(last=last)
            else:
                self._drop(len(self._held))
        calls, self._calls = tuple(self._calls), []
        return Said(content, reasoning, calls, self._state == "over")

    @property
    def _after_thought(self) -> State:
        return "call" if self._manner.calls_only else "content"

    def _think(self, *, last: bool) -> str:
        text, marker = self._take_until(self._manner.thought[1:] if self._manner.thought else (), last=last)
        self.elsewhere += len(text)
        if marker:
            self._state = self._after_thought
        return text

    def _talk(self, *, last: bool) -> str:
        starts = [pair[0] for pair in (self._manner.thought, self._manner.call) if pair is not None]
        text, marker = self._take_until(starts, last=last)
        if marker:
            self._state = "call" if self._manner.call and marker == self._manner.call[0] else "thought"
        elif self.has_called and last:
            self.elsewhere += len(text) - len(text.rstrip())
            text = text.rstrip()
        return text

    def _call(self, *, last: bool) -> str:
        """Read a call as it grows, or once it is whole. Shown of it is nothing, unless it is not one."""
        start, end = self._manner.call or ("", "")
        found = self._held.find(end) if end else -1
        raw = self._held if found < 0 else self._held[:found]
        has_grown = self._manner.calls_are_json and self._grow(raw)
        if found < 0 and not last:
            return ""
        shown = raw if self._manner.calls_only else start + raw + (end if found >= 0 else "")
        self._held = self._held[len(raw) + (len(end) if found >= 0 else 0) :]
        self._follows_marker = True
        try:
            if not has_grown:
                self._add_calls(self._manner.parse(raw.strip()))
        except Exception:  # noqa: BLE001 -- mlx-lm's parsers raise whatever a wrong text makes them stumble over
            self._state, self._growing = "content", None
            self.elsewhere -= 0 if self._manner.calls_only else len(start)
            return shown
        self.elsewhere += len(shown) - (0 if self._manner.calls_only else len(start))
        is_cut = last and self._growing is not None and not self._growing.is_closed
        self._growing = None
        wants_more = self._manner.parallel and not self._manner.calls_only
        self._state = "content" if wants_more or is_cut else "over"
        return ""

    def _grow(self, raw: str) -> bool:
        """Give out what the call has grown by. Whether it is one that can be read so."""
        growing = self._growing = self._growing or GrowingCall()
        was_known = growing.name is not None
        grown = growing.feed(raw)
        if growing.name is None:
            return False
        if not was_known:
            self._calls.append(ToolCall(self._count, _new_id(), growing.name, grown))
            self._count += 1
        elif grown:
            self._calls.append(ToolCall(self._count - 1, "", "", grown))
        return True

    def _add_calls(self, parsed: Any) -> None:
        """Some models put several calls between two markers."""
        added = [
            ToolCall(self._count + place, _id_of(one), str(one["name"]), _arguments_of(one))
            for place, one in enumerate(parsed if isinstance(parsed, list) else [parsed])
        ]
        if not added:
            raise ValueError("There is no call.")
        added = added if self._manner.parallel else added[:1]
        self._calls += added
        self._count += len(added)

    def _take_until(self, markers: Sequence[str], *, last: bool) -> tuple[str, str]:
        """The text before the first of `markers`, and that marker; or what cannot belong to one any more."""
        if self._follows_marker:
            self._drop(len(self._held) - len(self._held.lstrip()))
            self._follows_marker = not self._held
        places = [(self._held.find(marker), marker) for marker in markers if marker in self._held]
        if places:
            place, marker = min(places)
            text = self._held[:place].rstrip()
            self._held = self._held[len(text) :]
            self._drop(place - len(text) + len(marker))
            self._follows_marker = True
            return text, marker
        safe = self._held if last else self._held[: len(self._held) - _growing(self._held, markers)].rstrip()
        self._held = self._held[len(safe) :]
        return safe, ""

    def _drop(self, characters: int) -> None:
        self.elsewhere += characters
        self._held = self._held[characters:]


def _growing(text: str, markers: Sequence[str]) -> int:
    """How many characters at the end of `text` are the beginning of a marker."""
    longest = max((len(marker) for marker in markers), default=1) - 1
    sizes = range(min(longest, len(text)), 0, -1)
    return next((size for size in sizes if any(one.startswith(text[-size:]) for one in markers)), 0)


def _id_of(call: dict[str, Any]) -> str:
    """The model's own, where it gives one."""
    given = call.get("id")
    return given if isinstance(given, str) and given else _new_id()


def _new_id() -> str:
    return f"call_{secrets.token_hex(12)}"


def _arguments_of(call: dict[str, Any]) -> str:
    arguments = call.get("arguments", {})
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
