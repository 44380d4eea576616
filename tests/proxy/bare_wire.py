"""Heads of messages, common and odd ones, and a connection whose other side is the test."""

from __future__ import annotations

import asyncio

from hypothesis import strategies as st

COMMON_LINES = ["Host: localhost", "X-Name: value", "Content-Length: %(size)d", "content-length: %(size)d"]
# What a head may hold that must be read anew each time, or refused.
ODD_LINES = [
    *(
        "CONTENT-LENGTH: %(size)d",
        "Content-Length:%(size)d",
        "Content-Length : %(size)d",
        "Content-Length: %(size)d ",
    ),
    *(
        "Content-Length: 0%(size)d",
        "Content-Length: +%(size)d",
        "X-Name: Content-Length: %(size)d",
        "no colon",
    ),
    *("Transfer-Encoding: chunked", "Connection: close", "Connection: keep-alive", "Expect: 100-continue"),
    *(
        " Content-Length: %(size)d",
        "X-Broken: a\nContent-Length: %(size)d",
        "X-Request-Id: one",
        "Upgrade: h2c",
        "Connection: Upgrade",
    ),
]
LINES = st.lists(st.sampled_from(COMMON_LINES) | st.sampled_from(ODD_LINES), max_size=5)
BODIES = st.lists(st.binary(max_size=30), min_size=2, max_size=4)


Seen = list[tuple[object, ...]]


class Wire(asyncio.Transport):
    """A connection whose other side is the test, at a port of that number."""

    def __init__(self, number: int = 1) -> None:
        super().__init__({"peername": ("127.0.0.1", number), "sockname": ("127.0.0.1", 2)})
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Nobody listens."""

    def pause_reading(self) -> None:
        """The test feeds it anyway."""

    resume_reading = pause_reading


def messages(first_line: str, lines: list[str], bodies: list[bytes]) -> list[bytes]:
    """Whole messages with the same head, but for the length of their bodies."""
    template = "\r\n".join([first_line, *lines, "", ""])
    return [template.replace("%(size)d", str(len(body))).encode() + body for body in bodies]


def pieces_of(message: bytes, *, whole: bool) -> list[bytes]:
    """What does not come in one piece is parsed, always."""
    return [message] if whole else [message[:1], message[1:]]
