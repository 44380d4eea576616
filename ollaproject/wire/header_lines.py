"""Headers as the lines of an answer's head, out of which nothing may break."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ollaproject.wire import sse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ollaproject.wire.asgi import Pair

# What may stand in a head, and the line breaks that end its lines (RFC 9110, 5.5).
ALLOWED = bytes(set(range(256)) - set(range(0x20)) - {0x7F} | set(b"\t\r\n"))

STREAM = b"\r\ncontent-type: " + sse.CONTENT_TYPE
OF_ONE_ANSWER = frozenset({b"connection", b"content-length", b"transfer-encoding"})


class HeaderLines:
    """Headers that many answers have in common: not Connection, and not how long the body is.

    Raises ValueError for those, and as `joined` does.
    """

    __slots__ = ("is_stream", "pairs", "text")

    def __init__(self, pairs: Sequence[Pair]) -> None:
        if not OF_ONE_ANSWER.isdisjoint(name for name, _ in pairs):
            raise ValueError("These headers belong to one answer alone.")
        self.pairs = pairs
        self.text = joined([b"", *map(b": ".join, pairs)])  # each line begins with its break
        self.is_stream = STREAM in self.text.lower()


def joined(lines: Sequence[bytes]) -> bytes:
    """Lines with breaks between them. Raises ValueError for one with a break or another control character."""
    text = b"\r\n".join(lines)
    breaks = len(lines) - 1  # one more is somebody's injection
    if text.count(b"\n") != breaks or text.count(b"\r") != breaks or text.translate(None, ALLOWED):
        raise ValueError("A header holds a line break or another control character.")
    return text
