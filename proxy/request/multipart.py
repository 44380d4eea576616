"""The small fields of a form with files (RFC 7578), found in its bytes, which are passed on as they are.

A file's content is skipped, never copied or decoded. What a key may use is judged by what is found here: a
form that other parsers may read otherwise is taken for one that cannot be read.
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
MAX_HEAD_BYTES = 4096
MAX_FIELD_BYTES = 4096
# A parameter of a header: its name, and its value in quotes or without.
PARAMETER = rb'\s*;\s*([^\s=;"]+)=(?:"((?:[^"\\]|\\.)*+)"|([^\s;"]*+))'
PARAMETERS = re.compile(PARAMETER)
FORM_TYPE = re.compile(FORM + rb"(?:" + PARAMETER + rb")*+\s*;?\s*", re.IGNORECASE)
DISPOSITION = b"content-disposition"
OF_FIELD = re.compile(DISPOSITION + rb":\s*form-data(?:" + PARAMETER + rb")*+\s*;?\s*", re.IGNORECASE)
BOUNDARY = re.compile(rb"[^\s;,\"]{1,70}")
FOLDED = (b" ", b"\t")


class UnreadableFormError(Exception):
    """A form that is broken, or that parsers differ on."""


class Field(NamedTuple):
    """A field's value, as far as MAX_FIELD_BYTES of it, and where it lies in the body."""

    value: bytes
    start: int
    end: int


def fields(body: bytes | mmap.mmap, content_type: bytes) -> dict[bytes, Field]:
    """The fields that are no files, by name. Empty when it cannot be read, or has two of one name."""
    found: dict[bytes, Field] = {}
    try:
        for name, field in _fields(body, DASHES + _boundary(content_type)):
            if name in found:
                return {}
            found[name] = field
    except UnreadableFormError:
        return {}
    return found


def field(body: bytes | mmap.mmap, name: bytes) -> Field | None:
    """One of them, in a form whose first line is its delimiter."""
    delimiter = body[: body.find(LINE)]
    try:
        return next((field for found, field in _fields(body, delimiter) if found == name), None)
    except UnreadableFormError:
        return None


def _boundary(content_type: bytes) -> bytes:
    found = _parameters(content_type) if FORM_TYPE.fullmatch(content_type) else {}
    boundary = found.get(b"boundary", b"")
    if not BOUNDARY.fullmatch(boundary):
        raise UnreadableFormError
    return boundary


def _fields(body: bytes | mmap.mmap, delimiter: bytes) -> Iterator[tuple[bytes, Field]]:
    """Raises UnreadableFormError when it comes to a part that it cannot read, or to no end."""
    opening, at = delimiter + LINE, 0
    while body[at : at + len(opening)] == opening:
        head_start = at + len(delimiter)
        head_end = body.find(LINE + LINE, head_start, head_start + MAX_HEAD_BYTES)
        end = body.find(LINE + delimiter, head_end)
        start = head_end + len(LINE + LINE)
        if head_end < 0 or end < start:
            raise UnreadableFormError
        name = _name(body[head_start:head_end])
        if name is not None:
            yield name, Field(body[start : min(end, start + MAX_FIELD_BYTES)], start, end)
        at = end + len(LINE)
    if body[at : at + len(delimiter + DASHES)] != delimiter + DASHES:
        raise UnreadableFormError


def _name(head: bytes) -> bytes | None:
    """That of a part's field; None of a file. `head` begins with a line break."""
    lines = head.split(LINE)[1:]
    said = [line for line in lines if line.lower().startswith(DISPOSITION)]
    if len(said) != 1 or not OF_FIELD.fullmatch(said[0]) or any(line.startswith(FOLDED) for line in lines):
        raise UnreadableFormError
    found = _parameters(said[0])
    name = found.get(b"name")
    if name is None or b"name*" in found or b"\\" in name:
        raise UnreadableFormError
    return None if {b"filename", b"filename*"} & found.keys() else name


def _parameters(header: bytes) -> dict[bytes, bytes]:
    """By name, in lower case. Raises UnreadableFormError when one is there twice."""
    found: dict[bytes, bytes] = {}
    for name, quoted, plain in PARAMETERS.findall(header):
        if name.lower() in found:
            raise UnreadableFormError
        found[name.lower()] = quoted or plain
    return found
