"""Stop strings, matched on text: across token borders, shown only if they are to be, held back only while one
may be growing.

Of several matches the one that is complete first ends the text, and of those that end together the longest.
So the result does not depend on how the text was cut into pieces, and a stream says what a whole answer
says.
"""

from __future__ import annotations


class StopMatcher:
    """Reads a text piece by piece and gives back what may be shown of it: with the stop string that ends it,
    if it `shows_match`.
    """

    def __init__(self, stops: tuple[str, ...], *, shows_match: bool = False) -> None:
        self._stops = stops
        self._shows_match = shows_match
        self._held = ""
        self.matched: str | None = None
        """The stop string that ended the text."""

    def feed(self, piece: str, *, may_end: bool = True) -> str:
        """The text that can be shown now. Nothing after a match.

        A stop string that is complete before it `may_end` the text is text like any other.
        """
        if self.matched is not None:
            return ""
        if not self._stops:
            return piece
        text = self._held + piece
        if may_end and (match := self._first_match(text)) is not None:
            start, self.matched = match
            self._held = ""
            return text[: start + len(self.matched)] if self._shows_match else text[:start]
        held = self._growing(text)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def flush(self) -> str:
        """The text that was held back, when no more will come."""
        held, self._held = self._held, ""
        return held

    def _first_match(self, text: str) -> tuple[int, str] | None:
        best: tuple[int, int, str] | None = None
        for stop in self._stops:
            start = text.find(stop)
            if start >= 0 and (best is None or (start + len(stop), start) < best[:2]):
                best = (start + len(stop), start, stop)
        return None if best is None else best[1:]

    def _growing(self, text: str) -> int:
        """How many characters at the end of `text` are the beginning of a stop string."""
        longest = min(len(text), max(len(stop) for stop in self._stops) - 1)
        for size in range(longest, 0, -1):
            tail = text[-size:]
            if any(stop.startswith(tail) for stop in self._stops):
                return size
        return 0
