"""HTTP messages that come in one piece, and a memory for heads that come again and again.

Clients and endpoints send the same head with every message, but for its Content-Length. What was made of it
the first time holds for every head that is the same to the byte without the digits of that length.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ollaproject.wire.asgi import Pair

T = TypeVar("T")

MAX_KNOWN = 256
MAX_KNOWN_BYTES = 2048
END = b"\r\n\r\n"
# As nearly everybody writes it. A head with another spelling is parsed each time.
LENGTH_NAMES = (b"\r\ncontent-length: ", b"\r\nContent-Length: ")
CONTENT_LENGTH = b"content-length"
MAX_DIGITS = 18  # Python reads no number of thousands


class Pieces(NamedTuple):
    """A whole message: its head before and after the digits of its length, these, and its body.

    Where it says no length there are no digits and nothing after them.
    """

    before: bytes
    digits: bytes
    after: bytes
    body: bytes


def taken_apart(data: bytes) -> Pieces | None:
    """None when it is not a whole message, or more than that, or its head is too long to be kept."""
    end = data.find(END, 0, MAX_KNOWN_BYTES) + len(END)
    if end < len(END):
        return None
    for name in LENGTH_NAMES:
        start = data.find(name, 0, end)
        if start >= 0:
            start += len(name)
            stop = data.find(b"\r", start)
            digits = data[start:stop]
            if not _is_length(digits, len(data) - end):
                return None
            return Pieces(data[:start], digits, data[stop:end], data[end:])
    return Pieces(data, b"", b"", b"") if len(data) == end else None


def _is_length(digits: bytes, size: int) -> bool:
    return len(digits) <= MAX_DIGITS and digits.isdigit() and int(digits) == size


def place_of_length(headers: Sequence[Pair], digits: bytes) -> int:
    """Where in a parsed head the Content-Length is from which these digits were taken; -1: none were.

    It is the only one: a parser refuses a second. Names are in lower case.
    """
    return headers.index((CONTENT_LENGTH, digits)) if digits else -1


def with_length(headers: list[Pair], place: int, digits: bytes) -> list[Pair]:
    """A kept head's headers as another message has them. `place` is as `place_of_length` gave it."""
    if place < 0:
        return headers
    changed = headers.copy()
    changed[place] = (CONTENT_LENGTH, digits)
    return changed


class Known(Generic[T]):
    """A head, and what is known of it."""

    __slots__ = ("_after", "_before", "what")

    def __init__(self, pieces: Pieces, what: T) -> None:
        self._before = pieces.before
        self._after = pieces.after
        self.what = what

    def begins(self, data: bytes) -> tuple[bytes, bytes] | None:
        """The digits and the body of a whole message with this head, None when that is something else."""
        before, after = self._before, self._after
        if not after:
            return (b"", b"") if data == before else None
        if not data.startswith(before):
            return None
        stop = data.find(b"\r", len(before))
        if not data.startswith(after, stop):
            return None
        digits, body = data[len(before) : stop], data[stop + len(after) :]
        return (digits, body) if _is_length(digits, len(body)) else None


class Memory(OrderedDict[bytes, Known[T]]):
    """So many things by their heads, the one that was needed longest ago first."""

    def find(self, data: bytes, latest: Known[T] | None) -> tuple[Known[T], bytes, bytes] | None:
        """What is known of a whole message, its digits and its body.

        `latest` is what the one before it on the same connection had: most have the same again.
        """
        if latest is not None and (found := latest.begins(data)) is not None:
            return latest, *found
        pieces = taken_apart(data)
        if pieces is None:
            return None
        head = pieces.before + pieces.after
        known = self.get(head)
        if known is None:
            return None
        self.move_to_end(head)
        return known, pieces.digits, pieces.body

    def keep(self, pieces: Pieces, what: T) -> None:
        self[pieces.before + pieces.after] = Known(pieces, what)
        if len(self) > MAX_KNOWN:
            self.popitem(last=False)
