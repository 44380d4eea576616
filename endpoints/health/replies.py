"""The beginning of an answer as text for a person to read, with every secret that we sent taken out."""

from __future__ import annotations

import base64
import binascii
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from endpoints.health.findings import Answer

MAX_REPLY_LENGTH: Final = 1000
HIDDEN: Final = "•••"
# A shorter value, such as `1`, is no secret, and would tear any text to pieces.
SHORTEST_SECRET: Final = 6
# What says something of an answer. Cookies, and whatever else a server sets, are not shown.
HEADERS_SHOWN: Final = ("Content-Type", "Content-Length", "Server", "Location", "Retry-After")


def in_text(answer: Answer, sent: Iterable[tuple[str, str]]) -> str:
    """Its status, a few of its headers, and the beginning of its body.

    A server may say back what it was `sent`: the values of those headers are hidden.
    """
    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = ""
    lines = [f"{answer.status} {phrase}".rstrip()]
    lines += [f"{name}: {answer.headers[name]}" for name in HEADERS_SHOWN if name in answer.headers]
    body = answer.body[: 4 * MAX_REPLY_LENGTH].decode("utf-8", "replace")
    text = "\n".join(lines) + (f"\n\n{body}" if body else "")
    for secret in sorted(secrets_in(sent), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    text = "".join(one for one in text if one.isprintable() or one in "\n\t")
    return text if len(text) <= MAX_REPLY_LENGTH else text[: MAX_REPLY_LENGTH - 1] + "…"


def secrets_in(sent: Iterable[tuple[str, str]]) -> set[str]:
    """Every value that was sent, whole and in the parts that a server could repeat."""
    parts = {part for _, value in sent for part in _parts(value)}
    in_json = {json.dumps(part)[1:-1] for part in parts}
    return {part for part in parts | in_json if len(part) >= SHORTEST_SECRET}


def _parts(value: str) -> Iterator[str]:
    yield value
    scheme, _, rest = value.partition(" ")
    if not rest:
        return
    yield rest
    if scheme.lower() == "basic":
        try:
            yield from base64.b64decode(rest).decode().split(":", 1)
        except (binascii.Error, UnicodeDecodeError):
            return
