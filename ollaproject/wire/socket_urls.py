"""URLs that lead to a Unix socket of this machine: `http+unix://%2Frun%2Fmlx.sock/base`. Where they lead.

The socket's path stands where a host does, percent-encoded. People may write `unix:/run/mlx.sock:/base`, and
so it is shown to them.
"""

from __future__ import annotations

import re
import sys
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

SCHEME = "http+unix"
HOST = "localhost"  # as whom a server there is asked: those that look at Host know this name
# What a system has room for (sun_path in sys/un.h), less the zero byte at its end.
MAX_PATH_BYTES = 103 if sys.platform == "darwin" else 107

EXAMPLE = "unix:/run/mlx/server.sock"
# With // as gRPC and Docker have it, or behind http:// as nginx has it. A percent sign could mean itself or a
# code, and what follows ? or # would be part of a file's name.
SHORT = re.compile(r"(?:http://unix:|unix://|unix:)(?P<path>/(?!/)[^%?#]*?)(?::(?P<base>/[^?#]*))?")
MEANT = re.compile(r"(?:http://)?unix:|http\+unix:", re.IGNORECASE)


class SocketUrlError(ValueError):
    """A URL that ought to lead to a socket and does not. The message is a sentence for a person."""


class SocketUrl(NamedTuple):
    """`path` is the socket's, absolute; `http` is what is asked of the server there, `http://localhost/base`."""

    path: str
    http: str


def read(url: str) -> SocketUrl | None:
    """Where `url` leads; None when that is no socket. Raises SocketUrlError."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() != SCHEME:
        return None
    try:
        netloc = urlsplit(url).netloc
        path = unquote(netloc, errors="strict")
    except ValueError:
        raise SocketUrlError(f"The URL does not parse. Write it like {EXAMPLE}.") from None
    if not path.startswith("/"):
        raise SocketUrlError(
            f"The path of a socket must be absolute, each of its slashes written as %2F. Or write {EXAMPLE}."
        )
    if not path.isprintable():
        raise SocketUrlError("The path of a socket must be printable text.")
    if ":" in netloc:
        raise SocketUrlError("A socket has no port. Leave it out; a colon in its path is written as %3A.")
    return SocketUrl(path, f"http://{HOST}{rest[len(netloc) :]}")


def written(path: str, base: str = "") -> str:
    """The URL of the socket at `path`."""
    return f"{SCHEME}://{quote(path, safe='')}{base}"


def normalised(text: str) -> str:
    """The one URL for every way of writing it; what leads to no socket, or cannot be read, as it is."""
    if short := SHORT.fullmatch(text):
        return written(short["path"], short["base"] or "")
    try:
        found = read(text)
    except SocketUrlError:
        return text
    return text if found is None else written(found.path, found.http.removeprefix(f"http://{HOST}"))


def is_meant(text: str) -> bool:
    """Whether somebody means a socket by this, whether or not it can be read."""
    return MEANT.match(text) is not None


def shown(url: str) -> str:
    """A URL as people read it: those of sockets in the short form, where that is the same to the letter."""
    try:
        found = read(url)
    except SocketUrlError:
        return url
    if found is None:
        return url
    base = found.http.removeprefix(f"http://{HOST}")
    short = f"unix:{found.path}:{base}" if base else f"unix:{found.path}"
    return short if normalised(short) == url else url


def server_of(url: str) -> str:
    """Which server `url` asks: a host with its port, or a socket. Raises ValueError when it is no URL."""
    found = read(url)
    return urlsplit(url).netloc if found is None else f"unix:{found.path}"


def host_of(url: str) -> str | None:
    """The host on which that server is: for a socket this machine, localhost. Raises ValueError as above."""
    return urlsplit(url).hostname if read(url) is None else HOST
