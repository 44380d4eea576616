"""OpenAI's error object, and the exception that becomes one (contract, section 5)."""

from __future__ import annotations

from typing import TypedDict

INVALID_REQUEST = "invalid_request_error"
SERVER_ERROR = "server_error"
RATE_LIMIT = "rate_limit_error"

TYPE_OF_STATUS = {429: RATE_LIMIT}
FIRST_SERVER_STATUS = 500


class ErrorDetail(TypedDict):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(TypedDict):
    error: ErrorDetail


class ApiError(Exception):
    """A failure that the client is told about.

    `message` is a sentence for the person who reads it: what happened and what to try. `code` is the
    machine's word for it, `param` the request field at fault. `headers` go out beside the answer.
    """

    def __init__(
        self,
        status: int,
        code: str | None,
        message: str,
        *,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.headers = headers or {}

    @property
    def type(self) -> str:
        default = SERVER_ERROR if self.status >= FIRST_SERVER_STATUS else INVALID_REQUEST
        return TYPE_OF_STATUS.get(self.status, default)

    def body(self) -> ErrorBody:
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}
