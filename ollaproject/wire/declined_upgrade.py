"""Requests that would rather go on in another protocol: Java's HTTP client asks for HTTP/2 in its first one.

A server may pass over that (RFC 9110, 7.8). The parser does not: it takes what follows the head for the other
protocol, and with it the request's body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ollaproject.wire.asgi import Pair

UPGRADE = b"upgrade"


def asks_for_another(headers: Sequence[Pair]) -> bool:
    return any(name == UPGRADE for name, _ in headers)


def plain_head(method: str, target: bytes, version: str, headers: Sequence[Pair]) -> bytes:
    """The same head without that wish. Names are in lower case."""
    first = b"%b %b HTTP/%b" % (method.encode("ascii"), target, version.encode("ascii"))
    kept = [pair for pair in headers if pair[0] != UPGRADE]
    return b"\r\n".join([first, *map(b": ".join, kept), b"", b""])
