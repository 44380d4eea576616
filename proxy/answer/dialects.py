"""How our own errors and headers are worded on a surface: as OpenAI words them, or as Anthropic does."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from ollaproject.wire import sse
from ollaproject.wire.anthropic import errors as anthropic
from ollaproject.wire.openai_errors import SERVER_ERROR

if TYPE_CHECKING:
    from ollaproject.wire.openai_errors import ApiError
    from proxy.request.headers import Pair

ANTHROPIC_PREFIX = b"/olla/anthropic/"
MESSAGES = b"/v1/messages"
RESPONSES = b"/v1/responses"
BROKEN_OFF_STATUS = 500


class Dialect(Protocol):
    """One way to say what has gone wrong."""

    def headers(self, request_id: bytes) -> list[Pair]:
        """What every answer carries beside the common headers."""

    def error(self, error: ApiError, request_id: str) -> Any:
        """The body of an error."""

    def broken_off(self, message: str, code: str | None, request_id: str) -> bytes:
        """The last event of a stream that could not go on."""

    def late(self, body: bytes) -> bytes:
        """An error's body as an event, for a client that was promised a stream."""


class OpenAI:
    """The contract's section 5."""

    def headers(self, request_id: bytes) -> list[Pair]:  # noqa: ARG002
        return []

    def error(self, error: ApiError, request_id: str) -> Any:
        body = error.body()
        body["error"]["message"] = f"{error.message} (request {request_id})"
        return body

    def broken_off(self, message: str, code: str | None, request_id: str) -> bytes:  # noqa: ARG002
        return sse.event({"error": {"message": message, "type": SERVER_ERROR, "param": None, "code": code}})

    def late(self, body: bytes) -> bytes:
        return sse.encoded_event(body)


class Responses(OpenAI):
    """Errors are OpenAI's; in a stream every event has a type."""

    def broken_off(self, message: str, code: str | None, request_id: str) -> bytes:  # noqa: ARG002
        return sse.typed_event(
            {"type": "error", "code": code, "message": message, "param": None, "sequence_number": 0}
        )


class Anthropic:
    """The contract's section 7."""

    def headers(self, request_id: bytes) -> list[Pair]:
        return [(b"request-id", request_id)]

    def error(self, error: ApiError, request_id: str) -> Any:
        return anthropic.of_api_error(error, request_id)

    def broken_off(self, message: str, code: str | None, request_id: str) -> bytes:  # noqa: ARG002
        return sse.typed_event({**anthropic.error_body(BROKEN_OFF_STATUS, message, request_id)})

    def late(self, body: bytes) -> bytes:
        return sse.encoded_event(body, name=b"error")


OPENAI, RESPONSE_EVENTS, ANTHROPIC = OpenAI(), Responses(), Anthropic()


@lru_cache(maxsize=512)
def dialect_of(path: bytes) -> Dialect:
    """By the path alone, so that who is refused at the door is refused in their own words."""
    if MESSAGES in path or path.startswith(ANTHROPIC_PREFIX):
        return ANTHROPIC
    return RESPONSE_EVENTS if RESPONSES in path else OPENAI
