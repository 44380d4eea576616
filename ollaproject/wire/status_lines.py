"""The first line of an answer, by its status."""

from __future__ import annotations

from http import HTTPStatus

FIRST_STATUS, LAST_STATUS = 100, 599


def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}".encode()


STATUS_LINES = {status: _status_line(status) for status in range(FIRST_STATUS, LAST_STATUS + 1)}
