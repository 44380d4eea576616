"""A request line that names the host as well: `GET http://host/path HTTP/1.1`, as clients ask a proxy."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ollaproject.wire.asgi import Pair

# Without a user's name and password: those are for nobody's log (RFC 9110, 4.2.4).
ABSOLUTE = re.compile(rb"https?://([^/?#@]+)(?:(/)|(?=\?)|$)", re.IGNORECASE)
ANYTHING = b"*"  # OPTIONS * asks about the server itself


def in_origin_form(target: bytes, headers: list[Pair]) -> tuple[bytes, list[Pair]]:
    """The target as `/path?query`, and headers with its host as the only one that counts.

    What the target names wins over the header Host (RFC 9112, 3.2.2). None of those, or two, is as wrong as
    elsewhere: such headers stay as they are. Names are in lower case. Raises ValueError for another form.
    """
    if target.startswith(b"/") or target == ANYTHING:
        return target, headers
    found = ABSOLUTE.match(target)
    if found is None:
        raise ValueError("This is no target of a request to a server.")
    host = found[1]
    if sum(name == b"host" for name, _ in headers) == 1:
        headers = [(name, host if name == b"host" else value) for name, value in headers]
    return b"/" + target[found.end() :], headers
