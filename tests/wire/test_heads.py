"""Messages are taken apart where their head tells all of them, and a memory of heads that is bounded."""

from __future__ import annotations

import pytest

from ollaproject.wire.heads import MAX_KNOWN, MAX_KNOWN_BYTES, Memory, taken_apart

GET = b"GET /v1/x HTTP/1.1\r\nHost: localhost\r\n\r\n"
KNOWN = b"POST /v1/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "apart"),
    [
        (GET, (GET, b"", b"", b"")),
        (KNOWN % 4 + b"body", (KNOWN[: KNOWN.index(b"%d")], b"4", b"\r\n\r\n", b"body")),
        (KNOWN % 4 + b"bod", None),
        (KNOWN % 4 + b"body+", None),
        (GET + b"+", None),
        (GET[:-1], None),
        (b"GET", None),
        (b"", None),
        (GET + b"\r\nContent-Length: 22\r\n", None),
        (KNOWN.replace(b"%d", b"x") + b"body", None),
        (KNOWN.replace(b"%d", b"9" * 1500) + b"body", None),
        (b"GET /" + b"x" * (MAX_KNOWN_BYTES - len(GET) + 1) + GET[5:], None),
    ],
)
def test_what_is_no_whole_message_is_not_taken_apart(data: bytes, apart: object) -> None:
    assert taken_apart(data) == apart


def test_only_so_many_heads_are_remembered_and_those_in_use_longest() -> None:
    def message(path: object) -> bytes:
        return f"GET /{path} HTTP/1.1\r\n\r\n".encode()

    memory: Memory[object] = Memory()
    for path in ("in-use", *range(MAX_KNOWN * 2)):
        pieces = taken_apart(message(path))
        assert pieces is not None
        memory.keep(pieces, path)
        memory.find(message("in-use"), None)

    found = memory.find(message("in-use"), None)
    assert len(memory) == MAX_KNOWN
    assert found is not None
    assert found[0].what == "in-use"
    assert memory.find(message(0), None) is None
