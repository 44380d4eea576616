"""A grammar at work on one row: before each token, everything that would break it gets no probability.

Imports mlx: loaded by the model process only. Plain operations, so it runs on a CPU and on Metal alike. A
guide never raises, because that would cost the whole batch: it writes into `row.stuck`, and the
scheduler ends that row.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np

if TYPE_CHECKING:
    from llguidance import LLMatcher

    from inference.work import Row

BITS = 32  # in a word of the mask


class Guide:
    """What a row that must follow a grammar may say next. It knows what the row has said already."""

    def __init__(self, row: Row, matcher: LLMatcher) -> None:
        self._row = row
        self._beginning = matcher
        self._begin()
        self._follow(row.said)

    def _begin(self) -> None:
        """As at the beginning of an answer, or where the grammar has come to its end and may begin anew."""
        self._matcher = self._beginning.deep_copy()
        mark = self._row.guided_after
        # The last of what is said before the grammar begins.
        self._free = deque[int](maxlen=len(mark)) if mark else None

    def __call__(self, said: list[int], logits: Any) -> Any:
        """`said` is new since the last call, `logits` are [1, vocabulary]."""
        self._follow(said)
        if self._free is not None or self.has_failed():
            return logits
        words = mx.array(np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint32))
        if self.has_failed():
            return logits
        bits = (words[:, None] >> mx.arange(BITS, dtype=mx.uint32)) & 1
        allowed = bits.reshape(1, -1)[:, : logits.shape[-1]].astype(mx.bool_)
        return mx.where(allowed, logits, -mx.inf)

    def _follow(self, said: list[int]) -> None:
        """Read what has been said since the last time. Behind the end of the answer nothing matters."""
        for token in said:
            if self._free is not None:
                self._free.append(token)
                if tuple(self._free) == self._row.guided_after:
                    self._free = None
            elif not self._matcher.is_stopped():
                self._matcher.consume_token(token)
                if self._row.guided_again and self._matcher.is_accepting():
                    self._begin()

    def has_failed(self) -> bool:
        """Whether the grammar cannot be followed any further; then the row is told why."""
        if not self._matcher.is_error():
            return False
        # Only the kind of error: the rest of llguidance's text holds what was generated.
        kind = self._matcher.get_error().split(":", 1)[0]
        self._row.stuck = f"The grammar of this request cannot be followed any further ({kind}): simplify it."
        return True
