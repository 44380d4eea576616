"""Puts another model's name into a request's body. Every other byte stays as it was.

The body was read before, so it is known to be a JSON object, of which only the top level counts, or a form.
"""

from __future__ import annotations

import re

import msgspec

from proxy import multipart

# A string, or what opens and closes. All between them is numbers, words, commas, colons and space.
TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"|[{}\[\]]', re.DOTALL)
COLON = re.compile(rb"\s*:\s*")


def with_model(body: bytes, name: str) -> bytes:
    """The same request for the model `name`."""
    if body.startswith(multipart.DASHES):
        return multipart.with_field(body, b"model", name.encode())
    pieces: list[bytes] = []
    kept = 0
    for start, end in _model_values(body):
        pieces += [body[kept:start], msgspec.json.encode(name)]
        kept = end
    return b"".join([*pieces, body[kept:]])


def _model_values(body: bytes) -> list[tuple[int, int]]:
    """Where `model` strings stand. A key may be there twice, and parsers differ in which of them counts."""
    found: list[tuple[int, int]] = []
    depth = 0
    is_value = False
    for token in TOKEN.finditer(body):
        if is_value:
            found.append(token.span())
            is_value = False
        elif token[0] in b"{[":
            depth += 1
        elif token[0] in b"}]":
            depth -= 1
        elif depth == 1:
            colon = COLON.match(body, token.end())
            is_value = colon is not None and _is_model(token[0]) and body.startswith(b'"', colon.end())
    return found


def _is_model(key: bytes) -> bool:
    return key == b'"model"' or (b"\\" in key and msgspec.json.decode(key) == "model")
