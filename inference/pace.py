"""How much of a prompt is read between two steps of running rows: as much as takes no longer than a step.

Running streams then stand still for two of their steps at most, whatever the machine, the model, the number
of rows and the length of what was read already. Nobody waits when no row is decoding: then chunks are large.
"""

from __future__ import annotations

SMALLEST_CHUNK_TOKENS = 16
"""Less would hardly be faster: a matrix product of a few rows costs what one row costs."""
IDLE_CHUNK_FACTOR = 2
"""How much larger a chunk may be when no row is decoding, that is, when nobody has to wait for it."""
NEWS_SHARE = 0.25
"""How much of a measured value is made of the latest measurement."""


class Pace:
    """Measures steps and sizes chunks, `most_tokens` at the most while rows are decoding."""

    def __init__(self, *, most_tokens: int) -> None:
        self._most_tokens = most_tokens
        self._step_seconds = 0.0  # of a step that reads nothing
        self._token_seconds = 0.0  # of one token of a prompt

    def chunk_tokens(self, *, decoding: bool) -> int:
        """How many tokens of prompts the next step should read, all prompts together."""
        if not decoding:
            return self._most_tokens * IDLE_CHUNK_FACTOR
        if not (self._step_seconds and self._token_seconds):
            return self._most_tokens
        affordable = int(self._step_seconds / self._token_seconds)
        return min(max(affordable, SMALLEST_CHUNK_TOKENS), self._most_tokens)

    def note(self, seconds: float, *, decoding: bool, read_tokens: int) -> None:
        """A step took `seconds`. Rows were decoding in it or not, and so many tokens of prompts were read."""
        if read_tokens:
            of_reading = seconds - (self._step_seconds if decoding else 0.0)
            if of_reading > 0:
                self._token_seconds = _blend(self._token_seconds, of_reading / read_tokens)
        elif decoding:
            self._step_seconds = _blend(self._step_seconds, seconds)


def _blend(known: float, news: float) -> float:
    return known + NEWS_SHARE * (news - known) if known else news
