"""Calls given out while the model still writes them: a name, then its arguments in pieces of JSON.

Where a model writes the arguments as JSON they are given out by the character. In other notations they are
given out member by member: whatever mlx-lm's parser makes of what is whole so far. The notations that neither
is safe for are read once a call is whole, in speech.py.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

MARKS = re.compile(r'["{}\[\]\\]')
OPENING = "{["


class Grown(NamedTuple):
    """What a call has grown by. `id` and `name` come at its beginning only; `id` if the model gives one."""

    place: int
    id: str
    name: str
    arguments: str


class Growing(Protocol):
    """The calls of one section."""

    @property
    def count(self) -> int:
        """How many have begun."""

    @property
    def is_closed(self) -> bool:
        """Whether the arguments of all that have begun have come to their end."""

    def feed(self, text: str) -> list[Grown]:
        """What is new, from the whole text of the section so far."""

    def finish(self, text: str) -> list[Grown]:
        """The rest, from the text of the section that is whole. Raises what the parser raises."""


class JsonCalls:
    """Calls whose arguments are JSON objects. What stands before one is matched by `head`, which has a group
    `name`, in JSON itself when it is quoted, and possibly a group `id`.
    """

    def __init__(self, head: re.Pattern[str]) -> None:
        self.count = 0
        self.is_closed = False
        self._head = head
        self._given = 0  # characters of the text that were given out or passed over
        self._seen = 0
        self._depth = 0
        self._in_string = False

    def feed(self, text: str) -> list[Grown]:
        grown: list[Grown] = []
        while True:
            id_, name = "", ""
            if not self.count or self.is_closed:
                head = self._head.search(text, self._seen)
                if head is None or not (name := _name_of(head["name"])):
                    return grown
                id_ = head.groupdict().get("id") or ""
                self._given = self._seen = head.end()
                self.count, self.is_closed = self.count + 1, False
            self._scan(text)
            if name or self._seen > self._given:
                grown.append(Grown(self.count - 1, id_, name, text[self._given : self._seen]))
            self._given = self._seen
            if not self.is_closed:
                return grown

    def finish(self, text: str) -> list[Grown]:
        return self.feed(text)

    def _scan(self, text: str) -> None:
        """Move to the end of the text, or to that of the arguments."""
        at = self._seen
        while mark := MARKS.search(text, at):
            at = mark.end()
            if mark[0] == "\\":
                at += 1  # what it escapes says nothing
            elif mark[0] == '"':
                self._in_string = not self._in_string
            elif not self._in_string:
                self._depth += 1 if mark[0] in OPENING else -1
                if self._depth == 0:
                    self.is_closed = True
                    self._seen = at
                    return
        # An escape at the very end is looked at again with what follows it.
        self._seen = len(text) - 1 if at > len(text) else len(text)


@dataclass(frozen=True, slots=True)
class Notation:
    """`mark` stands behind every argument. What is whole is a call once `closing` stands behind it."""

    mark: str
    closing: str = ""


class MemberCalls:
    """Calls whose arguments are given out one by one, each once it is whole, as `parse` reads them."""

    def __init__(self, notation: Notation, parse: Callable[[str], Any]) -> None:
        self.is_closed = False
        self._notation = notation
        self._parse = parse
        self._seen = 0
        self._given: list[str] = []  # of each call, its arguments so far

    @property
    def count(self) -> int:
        return len(self._given)

    def feed(self, text: str) -> list[Grown]:
        end = text.rfind(self._notation.mark) + len(self._notation.mark)
        if end <= self._seen or end < len(self._notation.mark):
            return []
        self._seen = end
        whole = text[:end].removesuffix(",").strip() + self._notation.closing
        try:
            parsed = self._parse(whole)
        except Exception:  # noqa: BLE001 -- it was no argument's end: mlx-lm's parsers raise whatever they stumble over
            return []
        return self._differences(parsed, is_whole=False)

    def finish(self, text: str) -> list[Grown]:
        grown = self._differences(self._parse(text.strip()), is_whole=True)
        self.is_closed = True
        return grown

    def _differences(self, parsed: Any, *, is_whole: bool) -> list[Grown]:
        calls = parsed if isinstance(parsed, list) else [parsed]
        grown = []
        for place, call in enumerate(calls):
            text = arguments_of(call)
            if not is_whole and place == len(calls) - 1:
                text = text.removesuffix("}")
            if place == len(self._given):
                self._given.append(text)
                grown.append(Grown(place, id_of(call), str(call["name"]), text))
            elif text.startswith(self._given[place]) and text != self._given[place]:
                grown.append(Grown(place, "", "", text[len(self._given[place]) :]))
                self._given[place] = text
        return grown


def id_of(call: dict[str, Any]) -> str:
    """The model's own, where it gives one."""
    given = call.get("id")
    return given if isinstance(given, str) else ""


def arguments_of(call: dict[str, Any]) -> str:
    """JSON in a string, as OpenAI has it."""
    arguments = call.get("arguments", {})
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def _name_of(written: str) -> str:
    if not written.startswith('"'):
        return written
    try:
        return str(json.loads(written))
    except ValueError:
        return ""
