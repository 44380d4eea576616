"""What a client gets that sends something else than a request, a head that is too large, or CONNECT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ollaproject.wire.asgi import JSON, encode_json
from ollaproject.wire.openai_errors import ApiError
from ollaproject.wire.status_lines import STATUS_LINES

if TYPE_CHECKING:
    import httptools

# Request line and headers together, and how many headers there may be: the common limits of web servers.
MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 200


class HeadTooLargeError(Exception):
    """Request line and headers are larger than they may be."""


class UnknownVersionError(Exception):
    """A request line without a version, as before HTTP/1.0, or with another one."""


class TunnelError(Exception):
    """A CONNECT, which proxies know. What follows it was meant for the tunnel, and may look like a request:
    so it is never read, and the connection ends with the answer (RFC 9110, 9.3.6).
    """


def refusal_of(error: httptools.HttpParserError) -> bytes:
    if isinstance(error.__context__, HeadTooLargeError):
        message = f"Request line and headers are larger than {MAX_HEAD_BYTES} bytes, or too many. Send fewer."
        return _whole_answer(ApiError(431, "headers_too_large", message))
    if isinstance(error.__context__, TunnelError):
        message = "CONNECT is for proxies, and this is none: no tunnel is opened. Send the request itself."
        return _whole_answer(ApiError(501, "connect_not_supported", message))
    return _whole_answer(ApiError(400, "invalid_request", "What was sent is not an HTTP/1.1 request."))


def _whole_answer(error: ApiError) -> bytes:
    body = encode_json(error.body())
    head = (
        STATUS_LINES[error.status],
        b"content-type: " + JSON,
        b"content-length: %d" % len(body),
        b"connection: close",
        b"",
        body,
    )
    return b"\r\n".join(head)
