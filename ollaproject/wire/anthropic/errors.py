"""Anthropic's error object, in an answer and in a stream, and how OpenAI's becomes one.

https://docs.anthropic.com/en/api/errors has the types and their statuses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

import msgspec

from ollaproject.wire.unreadable import UNREADABLE

if TYPE_CHECKING:
    from ollaproject.wire.openai_errors import ApiError

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
FIRST_SERVER_STATUS = 500
CONTEXT_EXCEEDED = "context_length_exceeded"
TOO_LONG = "prompt is too long: "
"""How Anthropic begins that error: Claude Code shortens its conversation when it reads so."""


class Detail(TypedDict):
    type: str
    message: str


class ErrorBody(TypedDict):
    type: str
    error: Detail
    request_id: str


class _Error(msgspec.Struct):
    message: str | None = None
    code: Any = None


class _Said(msgspec.Struct):
    error: _Error | str | None = None
    message: str | None = None
    detail: Any = None


class _Typed(msgspec.Struct):
    type: str


_decode = msgspec.json.Decoder(_Said).decode
_decode_typed = msgspec.json.Decoder(_Typed).decode


def type_of(status: int) -> str:
    """Anthropic's word for a status."""
    default = "api_error" if status >= FIRST_SERVER_STATUS else "invalid_request_error"
    return TYPES.get(status, default)


def error_body(status: int, message: str, request_id: str) -> ErrorBody:
    return {"type": "error", "error": {"type": type_of(status), "message": message}, "request_id": request_id}


def of_api_error(error: ApiError, request_id: str) -> ErrorBody:
    said = _worded(error.message, error.code)
    return error_body(error.status, f"{said} (request {request_id})", request_id)


def _worded(message: str, code: Any) -> str:
    return TOO_LONG + message if code == CONTEXT_EXCEEDED else message


def of_openai(status: int, body: bytes, request_id: str) -> ErrorBody:
    """A backend's own error, whatever it looks like. FastAPI's servers say `detail`, old ones a bare text."""
    return error_body(status, message_in(body) or f"The server answered {status}.", request_id)


def message_in(body: bytes) -> str:
    """What an error of OpenAI's kind says, empty when it says nothing readable."""
    try:
        said = _decode(body)
    except UNREADABLE:
        return body.decode("utf-8", "replace").strip()[:500] if not body.lstrip().startswith(b"<") else ""
    if isinstance(said.error, _Error):
        return _worded(said.error.message or "", said.error.code)
    return said.error or said.message or (str(said.detail) if said.detail else "")


def is_anthropic(body: bytes) -> bool:
    """Whether an error is in Anthropic's shape already."""
    try:
        return bool(_decode_typed(body).type == "error")
    except UNREADABLE:
        return False
