"""What ASGI is told of a request, out of a head that has been parsed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httptools

from ollaproject.no_request import TunnelError, UnknownVersionError

if TYPE_CHECKING:
    from ollaproject.wire.asgi import Pair

TUNNEL = b"CONNECT"
VERSIONS = ("1.1", "1.0")
ASGI_VERSION = {"version": "3.0", "spec_version": "2.4"}


def refuse_tunnel(parser: httptools.HttpRequestParser) -> None:
    """Raises TunnelError. To be asked first: what CONNECT names is no target of a request to a server."""
    if parser.get_method() == TUNNEL:
        raise TunnelError


def scope_of(
    parser: httptools.HttpRequestParser,
    target: bytes,
    headers: list[Pair],
    *,
    scheme: str | None,
    root_path: str,
) -> dict[str, Any]:
    """The scope of a request for `target`, a path with its query. What it knows itself, a connection adds.

    Raises UnknownVersionError, and HttpParserInvalidURLError.
    """
    version = parser.get_http_version()
    if version not in VERSIONS:
        raise UnknownVersionError
    url = httptools.parse_url(target)
    path = url.path.decode("ascii")
    return {
        "type": "http",
        "asgi": ASGI_VERSION,
        "http_version": version,
        "scheme": scheme,
        "root_path": root_path,
        "method": parser.get_method().decode("ascii"),
        "path": root_path + (unquote(path) if "%" in path else path),
        "raw_path": root_path.encode("ascii") + url.path if root_path else url.path,
        "query_string": url.query or b"",
        "headers": headers,
    }
