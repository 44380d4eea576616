"""How long a row has been thinking, and the end of a thought that has taken as many tokens as it may.

Imports mlx: loaded by the model process only. vLLM's rule: each thought may have so many tokens between its
two markers, those in the prompt among them, and then the tokens of its end are forced.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import mlx.core as mx

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inference.work import ThoughtLimit


class Thoughts:
    """Of a row whose prompt and answer so far are `tokens`."""

    def __init__(self, tokens: Sequence[int], limit: ThoughtLimit) -> None:
        self._limit = limit
        self._latest = deque[int](maxlen=max(len(limit.start), len(limit.end)))  # of this thought, if in one
        self._length: int | None = None  # of this thought
        self._follow(_from_last(tokens, limit.start))

    def __call__(self, said: list[int], logits: Any) -> Any:
        """`said` is new since the last call, `logits` are [1, vocabulary]."""
        self._follow(said)
        if self._length is None or self._length < self._limit.tokens:
            return logits
        forced = self._limit.end[self._begun]
        return mx.where(mx.arange(logits.shape[-1]) == forced, 0.0, -mx.inf).astype(logits.dtype)[None]

    @property
    def _begun(self) -> int:
        """How many tokens of the end have been said already."""
        latest, end = tuple(self._latest), self._limit.end
        sizes = range(min(len(end) - 1, len(latest)), 0, -1)
        return next((size for size in sizes if latest[-size:] == end[:size]), 0)

    def _follow(self, tokens: Sequence[int]) -> None:
        for token in tokens:
            self._latest.append(token)
            if self._length is None:
                if self._ends_with(self._limit.start):
                    self._length = 0
                    self._latest.clear()
                continue
            self._length += 1
            if self._ends_with(self._limit.end):
                self._length = None
                self._latest.clear()

    def _ends_with(self, marker: tuple[int, ...]) -> bool:
        return tuple(self._latest)[-len(marker) :] == marker


def _from_last(tokens: Sequence[int], marker: tuple[int, ...]) -> Sequence[int]:
    """`tokens` from where `marker` stands in them for the last time; if it does not, those that it may begin
    with.
    """
    backwards = tokens[::-1]
    place = -1
    while True:
        try:
            place = backwards.index(marker[-1], place + 1)
        except ValueError:
            return tokens[max(len(tokens) - len(marker) + 1, 0) :]
        end = len(tokens) - place
        if tuple(tokens[max(end - len(marker), 0) : end]) == marker:
            return tokens[end - len(marker) :]
