"""What goes wrong at the door: one tree of upstream failures, and the contract's table of our own answers.

    UpstreamError           an attempt at one endpoint failed
    ├── UnreachableError    no connection, so nothing was sent
    ├── BrokenAnswerError   the connection broke, or carried no HTTP
    ├── FirstByteTimeoutError
    └── IdleTimeoutError    the answer began and then stood still

The functions below are section 5 of the contract, one row each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ollaproject.wire.openai_errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.limits.meters import Full

FIRST_SERVER_STATUS = 500
MAX_LISTED_MODELS = 10
# What a client is asked to wait while no endpoint can serve: the usual interval between two checks.
RETRY_AFTER_SECONDS = 5

# A key does not become right by sending it again, which some clients do a hundred times.
KEY_HEADERS = {"WWW-Authenticate": "Bearer", "x-should-retry": "false"}


class UpstreamError(Exception):
    """An attempt at one endpoint failed. Its text says how, in plain words, for logs and for the client."""

    code = "upstream_disconnected"


class UnreachableError(UpstreamError):
    """There was no connection: refused, unknown name, TLS, or too slow. Nothing was sent."""


class BrokenAnswerError(UpstreamError):
    """The connection broke, or what came over it is not HTTP."""


class FirstByteTimeoutError(UpstreamError):
    """The request was sent and no answer began in time."""


class IdleTimeoutError(UpstreamError):
    """The answer had begun, and then nothing came for too long."""

    code = "upstream_idle_timeout"


def invalid_json(problem: str) -> ApiError:
    return ApiError(400, "invalid_json", f"The request body {problem}. Send one JSON object.")


def invalid_model(problem: str) -> ApiError:
    return ApiError(400, "invalid_type", f"`model` {problem}.", param="model")


def invalid_path() -> ApiError:
    return ApiError(400, "invalid_path", "The path holds `.` or `..` segments. Send the path you mean.")


def not_found(path: str) -> ApiError:
    message = f"There is nothing at {path}. The routes begin with /v1/, /olla/<type>/v1/ or /olla/proxy/v1/."
    return ApiError(404, "not_found", message)


def method_not_allowed(method: str, allowed: Sequence[str]) -> ApiError:
    names = ", ".join(allowed)
    return ApiError(
        405, "method_not_allowed", f"{method} does nothing here. Use {names}.", headers={"Allow": names}
    )


def no_websockets() -> ApiError:
    message = (
        "Websockets are not spoken here, so there is no realtime API. Ask over HTTP; answers can be streamed."
    )
    return ApiError(501, "websocket_not_supported", message)


def request_too_large(limit: int) -> ApiError:
    message = f"The request body is larger than {limit} bytes. OLLA_MAX_BODY_SIZE sets the limit."
    # The rest of the body is on its way: after this answer, the connection is of no more use.
    return ApiError(413, "request_too_large", message, headers={"Connection": "close"})


def unknown_transfer_coding() -> ApiError:
    message = (
        "The only transfer coding that is understood is chunked. Say what else was done in Content-Encoding."
    )
    return ApiError(501, "unknown_transfer_coding", message, headers={"Connection": "close"})


def ambiguous_length() -> ApiError:
    message = (
        "The request gives its length in more than one way, or not as a number. Send one Content-Length."
    )
    return ApiError(400, "ambiguous_length", message, headers={"Connection": "close"})


def invalid_host(host: str | None) -> ApiError:
    said = "no Host header" if host is None else f"the Host header {host!r}"
    return ApiError(400, "invalid_host", f"The request has {said}, which names no host. Check the base URL.")


def misdirected(host: str) -> ApiError:
    message = (
        f"This gateway does not answer as {host!r}. Add that name to OLLA_ALLOWED_HOSTS, or use another URL."
    )
    return ApiError(421, "host_not_allowed", message)


def missing_key() -> ApiError:
    message = (
        "No valid API key was sent. Send one as `Authorization: Bearer …` or `x-api-key: …`. "
        "OLLA_API_AUTH says who needs one."
    )
    return ApiError(401, "invalid_api_key", message, headers=KEY_HEADERS)


def key_in_url() -> ApiError:
    message = (
        "The URL carries an API key. URLs end up in logs, so it is refused there: send the key as "
        "`Authorization: Bearer …` or `x-api-key: …`. A key that has been in a URL should be rotated."
    )
    return ApiError(400, "key_in_url", message)


def key_refused(name: str, reason: str) -> ApiError:
    """For a key that is known. `reason` follows its name in the sentence, such as `was revoked`."""
    message = f"The API key {name!r} {reason}. Ask whoever runs this gateway for another one."
    return ApiError(401, "invalid_api_key", message, headers=KEY_HEADERS)


def address_not_allowed(name: str, address: str) -> ApiError:
    return ApiError(403, "address_not_allowed", f"The API key {name!r} may not be used from {address}.")


def model_not_allowed(name: str, model: str | None) -> ApiError:
    if model is None:
        message = (
            f"The API key {name!r} may use certain models only, and this request names none that all servers "
            "would read alike. Name one, once, and do not compress the body."
        )
    else:
        message = f"The API key {name!r} may not use the model {model!r}. /v1/models lists what it may use."
    return ApiError(403, "model_not_allowed", message, param="model")


def answer_too_long(asked: int, most: int) -> ApiError:
    message = f"The request asks for up to {asked} tokens, and this API key may have {most}. Ask for fewer."
    return ApiError(400, "max_tokens_too_large", message, param="max_tokens")


def unreadable_body() -> ApiError:
    message = "This API key limits how long answers may be, so the body must not be compressed."
    return ApiError(400, "unreadable_body", message)


class LimitReached(ApiError):
    """`full` is the limit, or the budget, that refuses a request."""

    def __init__(self, code: str, message: str, full: Full, headers: dict[str, str]) -> None:
        super().__init__(429, code, message, headers=headers)
        self.full = full


def limit_reached(full: Full, retry_after: int) -> LimitReached:
    """`retry_after` is in seconds."""
    allowed = full.allowed
    headers = {"Retry-After": str(retry_after)}
    if full.kind not in ("day", "month"):
        message = f"{full.subject.who} has reached a limit ({allowed}). Try again in {retry_after} s."
        return LimitReached("rate_limit_exceeded", message, full, headers)
    message = f"{full.subject.who} has used up a budget ({allowed}). A {full.kind} begins at 0:00 UTC."
    return LimitReached("insufficient_quota", message, full, {**headers, "X-Should-Retry": "false"})


def model_not_found(model: str, known: Sequence[str]) -> ApiError:
    listed = ", ".join(known[:MAX_LISTED_MODELS])
    more = f" and {len(known) - MAX_LISTED_MODELS} more" if len(known) > MAX_LISTED_MODELS else ""
    there = f"Served here: {listed}{more}." if listed else "No models are served here at present."
    return ApiError(404, "model_not_found", f"No endpoint serves the model {model!r}. {there}", param="model")


def model_unavailable(model: str, states: Sequence[str], retry_after: int) -> ApiError:
    """`retry_after` is in seconds."""
    message = f"The model {model!r} cannot be served now: {'; '.join(states)}. Try again in {retry_after} s."
    return ApiError(503, "model_unavailable", message, headers={"Retry-After": str(retry_after)})


def context_length_exceeded(model: str | None, context: int, about: int, at_least: int) -> ApiError:
    """All figures are tokens: the longest context there is, and what the prompt probably and surely has."""
    what = "that can serve this" if model is None else f"for {model!r}"
    message = (
        f"The longest context {what} is {context} tokens, and the prompt has about {about}, at least "
        f"{at_least}. Send less, or use a model with a longer context."
    )
    refused = ApiError(400, "context_length_exceeded", message, param="messages")
    refused.headers["X-Olla-Routing-Decision"] = "rejected"
    refused.headers["X-Olla-Routing-Reason"] = "context_length_exceeded"
    return refused


def no_healthy_endpoint(label: str, states: Sequence[str], retry_after: int) -> ApiError:
    """`retry_after` is in seconds."""
    if states:
        message = f"No {label} endpoint can serve now: {'; '.join(states)}. Try again in {retry_after} s."
    else:
        message = f"There is no {label} endpoint. Add one in the admin pages."
    return ApiError(503, "no_healthy_endpoint", message, headers={"Retry-After": str(retry_after)})


def waking(model: str | None, retry_after: int) -> ApiError:
    """`retry_after` is in seconds."""
    message = f"The model {model!r} is being loaded, which takes about {retry_after} s. Try again then."
    return ApiError(503, "model_loading", message, headers={"Retry-After": str(retry_after)})


def overloaded(model: str | None, retry_after: int) -> ApiError:
    """`retry_after` is in seconds."""
    what = "that can serve this" if model is None else f"that serves {model!r}"
    message = f"Every endpoint {what} is busy, and the queue is too long. Try again in {retry_after} s."
    return ApiError(503, "overloaded", message, headers={"Retry-After": str(retry_after)})


def no_room_for_body() -> ApiError:
    message = "The gateway has no room on its disk for so large a body now. Try again later, or send less."
    return ApiError(503, "overloaded", message, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def all_failed(failures: Sequence[str], *, timed_out: bool) -> ApiError:
    """Every candidate was tried. SDKs are asked not to multiply our attempts with theirs."""
    status, code = (504, "upstream_timeout") if timed_out else (502, "upstream_error")
    message = f"No endpoint answered: {'; '.join(failures)}. Look at the endpoint, then try again."
    return ApiError(status, code, message, headers={"X-Should-Retry": "false"})


def database_away() -> ApiError:
    message = (
        "The database does not answer, and only it knows this. Requests to models are answered meanwhile."
    )
    return ApiError(503, "database_unavailable", message, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def gateway_loop() -> ApiError:
    message = (
        "A gateway is among its own endpoints, itself or by way of another one: this request goes round in "
        "circles. Look at the URLs of the endpoints."
    )
    return ApiError(508, "gateway_loop", message, headers={"X-Should-Retry": "false"})


def shutting_down() -> ApiError:
    message = "The gateway is shutting down. Try again in a moment."
    return ApiError(503, "shutting_down", message, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def internal_error() -> ApiError:
    return ApiError(
        500, "internal_error", "The gateway failed, which is a fault of ours. The log has the details."
    )
