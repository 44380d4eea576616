"""What a chat model says, taken apart: thoughts, text for the reader, and calls of tools.

It works on text as it grows, and holds back only what may become a marker. A call that cannot be parsed is
shown as the text that it is: nothing that the model said is lost.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from inference.http.growing_call import arguments_of, id_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inference.http.growing_call import Growing, Grown

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
    `marks` are the special tokens that markers are made of. `grows` begins to read calls as they grow, where
    that can be done.
    """

    thought: tuple[str, str] | None = None
    call: tuple[str, str] | None = None
    is_thinking: bool = False
    calls_only: bool = False
    parallel: bool = True
    parse: Callable[[str], Any] = json.loads
    marks: frozenset[int] = frozenset()
    grows: Callable[[], Growing] | None = None


class Speech:
    """One choice. `elsewhere` is how many characters were not content: thoughts, calls, and markers.

    White space beside a marker belongs to the marker, unless content stands before it and behind it.
    """

    def __init__(self, manner: Manner) -> None:
        self._manner = manner
        self._held = ""
        self._state: State = "thought" if manner.is_thinking else self._after_thought
        self._follows_marker = manner.is_thinking
        self._calls: list[ToolCall] = []
        self._count = 0
        self._growing: Growing | None = None
        self._before = 0  # calls that came before those which are growing
        self._has_talked = False
        self._gap = ""  # white space beside markers since then
        self.elsewhere = 0

    @property
    def is_calling(self) -> bool:
        return self._state == "call"

    @property
    def is_thinking(self) -> bool:
        return self._state == "thought"

    @property
    def has_called(self) -> bool:
        return self._count > 0

    def feed(self, text: str, *, last: bool = False, is_cut: bool = False) -> Said:
        """What is certain now that `text` has come; everything, if it is the last. `is_cut`: it is the last
        because the model was not let say more.
        """
        self._held += text
        content, reasoning = "", ""
        before = None
        while self._held and before != (before := (self._state, len(self._held))):
            if self._state == "thought":
                reasoning += self._think(last=last)
            elif self._state == "content":
                content += self._talk(last=last)
            elif self._state == "call":
                content += self._call(last=last, is_cut=is_cut)
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

    def _call(self, *, last: bool, is_cut: bool) -> str:
        """Read a call as it grows, or once it is whole. Shown of it is nothing, unless it is not one."""
        start, end = self._manner.call or ("", "")
        found = self._held.find(end) if end else -1
        raw = self._held if found < 0 else self._held[:found]
        growing = self._grow(raw)
        if found < 0 and not last:
            return ""
        shown = raw if self._manner.calls_only else start + raw + (end if found >= 0 else "")
        self._held = self._held[len(raw) + (len(end) if found >= 0 else 0) :]
        self._follows_marker = True
        self._growing = None
        is_whole = not (is_cut and found < 0)
        try:
            if growing is not None:
                is_whole = self._end(growing, raw, is_whole=is_whole)
            elif is_whole or not end:
                self._add_calls(self._manner.parse(raw.strip()))
            else:
                raise ValueError("The call is cut before anything of it is certain.")
        except Exception:  # noqa: BLE001 -- mlx-lm's parsers raise whatever a wrong text makes them stumble over
            self._state = "content"
            self.elsewhere -= 0 if self._manner.calls_only else len(start)
            return self._joined(shown)
        self.elsewhere += len(shown) - (0 if self._manner.calls_only else len(start))
        wants_more = self._manner.parallel and not self._manner.calls_only
        self._state = "content" if wants_more or not is_whole else "over"
        return ""

    def _grow(self, raw: str) -> Growing | None:
        """Give out what the calls have grown by. None unless one has begun."""
        if self._manner.grows is None:
            return None
        if self._growing is None:
            self._growing, self._before = self._manner.grows(), self._count
        self._note(self._growing.feed(raw))
        return self._growing if self._growing.count else None

    def _end(self, growing: Growing, raw: str, *, is_whole: bool) -> bool:
        """Give out the rest of calls that have begun. Whether they are whole: what was given out of one that
        is not, or that turns out not to be one, cannot be taken back, and stays half of one.
        """
        if not is_whole and not growing.is_closed:
            return False
        try:
            self._note(growing.finish(raw))
        except Exception:  # noqa: BLE001 -- as in _call
            return False
        return growing.is_closed

    def _note(self, grown: Sequence[Grown]) -> None:
        for one in grown:
            if one.place and not self._manner.parallel:
                continue
            place = self._before + one.place
            id_ = (one.id or _new_id()) if one.name else ""
            self._calls.append(ToolCall(place, id_, one.name, one.arguments))
            self._count = max(self._count, place + 1)

    def _add_calls(self, parsed: Any) -> None:
        """Some models put several calls between two markers."""
        added = [
            ToolCall(self._count + place, id_of(one) or _new_id(), str(one["name"]), arguments_of(one))
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
            self._drop_blank(len(self._held) - len(self._held.lstrip()))
            self._follows_marker = not self._held
        places = [(self._held.find(marker), marker) for marker in markers if marker in self._held]
        if places:
            place, marker = min(places)
            text = self._held[:place].rstrip()
            self._held = self._held[len(text) :]
            joined = self._joined(text)
            self._drop_blank(place - len(text))
            self._drop(len(marker))
            self._follows_marker = True
            return joined, marker
        safe = self._held if last else self._held[: len(self._held) - _growing(self._held, markers)].rstrip()
        self._held = self._held[len(safe) :]
        return self._joined(safe), ""

    def _joined(self, text: str) -> str:
        """`text`, and if it is content, before it what stood between it and the content before."""
        if not text or self._state != "content":
            return text
        gap = self._gap if self._has_talked else ""
        self._has_talked, self._gap = True, ""
        self.elsewhere -= len(gap)
        return gap + text

    def _drop_blank(self, characters: int) -> None:
        if self._state == "content":
            self._gap += self._held[:characters]
        self._drop(characters)

    def _drop(self, characters: int) -> None:
        self.elsewhere += characters
        self._held = self._held[characters:]


def _growing(text: str, markers: Sequence[str]) -> int:
    """How many characters at the end of `text` are the beginning of a marker."""
    longest = max((len(marker) for marker in markers), default=1) - 1
    sizes = range(min(longest, len(text)), 0, -1)
    return next((size for size in sizes if any(one.startswith(text[-size:]) for one in markers)), 0)


def _new_id() -> str:
    return f"call_{secrets.token_hex(12)}"
