"""The head of an endpoint's answer, and what follows from it. Endpoints send the same one again and again."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from ollaproject.wire.header_lines import HeaderLines
from ollaproject.wire.heads import CONTENT_LENGTH, taken_apart, with_length
from proxy.request.headers import is_event_stream, to_client

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ollaproject.wire.heads import Pieces
    from proxy.request.headers import Pair

NO_BODY_STATUSES = frozenset({204, 304})


class AnswerHead:
    """Of one answer, or of all that begin alike but for Content-Length (see ollaproject.wire.heads)."""

    def __init__(self, status: int, pairs: list[Pair]) -> None:
        self.status = status
        self._pairs = pairs

    @cached_property
    def is_stream(self) -> bool:
        return is_event_stream(self._pairs)

    def pairs(self, digits: bytes) -> list[Pair]:
        """The headers as they came, with an answer's own length."""
        return with_length(self._pairs, self._length_at, digits)

    @cached_property
    def shown(self) -> HeaderLines:
        """What the client gets of them, but for Content-Length."""
        return HeaderLines([pair for pair in self._to_client if pair[0] != CONTENT_LENGTH])

    @cached_property
    def shows_length(self) -> bool:
        """Whether the client gets that one, too."""
        return self.status not in NO_BODY_STATUSES and _place(self._to_client) >= 0

    @cached_property
    def _length_at(self) -> int:
        return _place(self._pairs)

    @cached_property
    def _to_client(self) -> list[Pair]:
        return to_client(self._pairs, stream=self.is_stream)

    @classmethod
    def worth_keeping(cls, data: bytes, status: int, pairs: list[Pair]) -> tuple[Pieces, AnswerHead] | None:
        """By what it is to be known again, when a whole answer with a length came in one piece."""
        pieces = taken_apart(data)
        if pieces is None or not pieces.digits or not pieces.before.startswith(b"HTTP/1.1 %d" % status):
            return None
        if status in NO_BODY_STATUSES:
            return None
        return pieces, cls(status, pairs)


def _place(pairs: Sequence[Pair]) -> int:
    return next((place for place, (name, _) in enumerate(pairs) if name == CONTENT_LENGTH), -1)
