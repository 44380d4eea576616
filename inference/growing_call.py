"""A call written as JSON, given out while the model still writes it: its name, then its arguments in pieces.

Other notations are read once they are whole, in inference/speech.py.
"""

from __future__ import annotations

import json
import re

# The name comes first in what models are taught to write, and in our own grammar.
HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*(?=\{)', re.DOTALL)
MARKS = re.compile(r'["{}\[\]\\]')
OPENING, CLOSING = "{[", "}]"


class GrowingCall:
    """One call. `name` is None until it is known; `is_closed` once the arguments have come to their end."""

    def __init__(self) -> None:
        self.name: str | None = None
        self.is_closed = False
        self._given = 0  # characters of the call's text that were given out or passed over
        self._seen = 0
        self._depth = 0
        self._in_string = False

    def feed(self, text: str) -> str:
        """What the arguments have grown by, from the whole text of the call so far."""
        if self.name is None and not self._find_name(text):
            return ""
        if self.is_closed:
            return ""
        self._scan(text)
        grown = text[self._given : self._seen]
        self._given = self._seen
        return grown

    def _find_name(self, text: str) -> bool:
        head = HEAD.match(text)
        if head is None:
            return False
        try:
            self.name = json.loads(head[1])
        except ValueError:
            return False
        self._given = self._seen = head.end()
        return True

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
