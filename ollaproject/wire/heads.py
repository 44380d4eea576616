"""HTTP messages that come in one piece, and a memory for heads that come again and again.

Clients and endpoints send the same head with every message, but for its Content-Length. What was made of it
the first time holds for every head that is the same to the byte without the digits of that length.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, TypeVar

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


def taken_apart(data: bytes) -> tuple[bytes, bytes, bytes] | None:
    """A message's head without the digits of its length, these (empty when it says none), and its body.

    None when it is not whole, or more than that, or its head is too long to be kept.
    """
    end = data.find(END, 0, MAX_KNOWN_BYTES) + len(END)
    if end < len(END):
        return None
    for name in LENGTH_NAMES:
        start = data.find(name, 0, end)
        if start >= 0:
            start += len(name)
            stop = data.find(b"\r", start)
            digits = data[start:stop]
            if not digits.isdigit() or len(data) - end != int(digits):
                return None
            return data[:start] + data[stop:end], digits, data[end:]
    return (data, b"", b"") if len(data) == end else None


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


class Memory(OrderedDict[bytes, T]):
    """So many things by their heads, the one that was needed longest ago first."""

    def recall(self, head: bytes) -> T | None:
        found = self.get(head)
        if found is not None:
            self.move_to_end(head)
        return found

    def keep(self, head: bytes, what: T) -> None:
        self[head] = what
        if len(self) > MAX_KNOWN:
            self.popitem(last=False)
