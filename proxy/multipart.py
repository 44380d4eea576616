"""The small fields of a form with files (RFC 7578), found in its bytes, which are passed on as they are.

A file's content is skipped, never copied or decoded.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterator

FORM = b"multipart/form-data"
DASHES = b"--"
LINE = b"\r\n"
BOUNDARY = re.compile(rb'boundary="?([^";,\s]{1,70})', re.IGNORECASE)
NAME = re.compile(rb'[;\s]name="?([^";\r\n]*)', re.IGNORECASE)
FILE = re.compile(rb"[;\s]filename\*?=", re.IGNORECASE)
MAX_HEAD_BYTES = 4096
MAX_FIELD_BYTES = 4096


class Field(NamedTuple):
    """A field's value, and where it lies in the body."""

    value: bytes
    start: int
    end: int


def fields(body: bytes | mmap.mmap, content_type: bytes) -> dict[bytes, Field]:
    """The fields that are no files, by name: the first of each. Empty when the form cannot be read."""
    boundary = BOUNDARY.search(content_type)
    found: dict[bytes, Field] = {}
    if boundary is not None:
        for name, field in _fields(body, DASHES + boundary[1]):
            found.setdefault(name, field)
    return found


def field(body: bytes | mmap.mmap, name: bytes) -> Field | None:
    """One of them, in a form whose first line is its delimiter."""
    delimiter = body[: body.find(LINE)]
    return next((field for found, field in _fields(body, delimiter) if found == name), None)


def _fields(body: bytes | mmap.mmap, delimiter: bytes) -> Iterator[tuple[bytes, Field]]:
    opening = delimiter + LINE
    at = 0 if body[: len(delimiter)] == delimiter else body.find(LINE + delimiter) + len(LINE)
    while 0 <= at < len(body) and body[at : at + len(opening)] == opening:
        head_start = at + len(delimiter)
        head_end = body.find(LINE + LINE, head_start, head_start + MAX_HEAD_BYTES)
        end = body.find(LINE + delimiter, head_end)
        if head_end < 0 or end < 0:
            return
        head = body[head_start:head_end]
        start = head_end + len(LINE + LINE)
        name = NAME.search(head)
        if name is not None and not FILE.search(head) and end - start <= MAX_FIELD_BYTES:
            yield name[1], Field(body[start:end], start, end)
        at = end + len(LINE)
