"""What every route of the model server does alike, from the first byte to the line in the log.

A consumer overrides `__call__`: it costs microseconds, and it sees its client leave, which cancels the work.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from channels.generic.http import AsyncHttpConsumer

from inference.errors import (
    EngineNotReady,
    EngineOverloaded,
    EngineStopping,
    GenerationFailed,
    GrammarFailed,
    InferenceError,
    InputInvalid,
    InputTooLong,
    NoChatModel,
    NothingLeft,
)
from inference.http.fields import BAD_REQUEST
from inference.http.meter import Meter
from ollaproject.wire import sse
from ollaproject.wire.asgi import (
    BodyTooLarge,
    ClientDisconnected,
    cancel_on_disconnect,
    header,
    raw_header,
    read_body,
    send_bytes,
    send_json,
)
from ollaproject.wire.ids import accept_request_id
from ollaproject.wire.openai_errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor

    from inference.engine import Engine
    from ollaproject.wire.asgi import Receive, Scope, Send

logger = logging.getLogger(__name__)

OK, UNAUTHORIZED, NOT_FOUND, METHOD_NOT_ALLOWED, TOO_LARGE, UNSUPPORTED_MEDIA = 200, 401, 404, 405, 413, 415
CLIENT_CLOSED_REQUEST, INTERNAL_ERROR, UNAVAILABLE = 499, 500, 503
RETRY_AFTER_SECONDS = "2"
LARGE_BODY_BYTES = 256 * 1024
"""A body of thousands of messages takes twenty milliseconds for each megabyte."""
STREAM_HEADERS = [
    (b"content-type", sse.CONTENT_TYPE),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


@dataclass(frozen=True, slots=True)
class Serving:
    """What every request needs. `tokenizing` is one thread: tokenizers are slow, and not to be shared."""

    engine: Engine
    tokenizing: Executor
    api_key: str
    max_body_bytes: int
    meter: Meter = field(default_factory=Meter)
    running: dict[str, set[Consumer]] = field(default_factory=dict)
    """Requests under way, by their ids and by those of their answers: what can be cancelled. Callers choose
    the ids, so several requests may have the same.
    """

    @contextlib.contextmanager
    def cancellable(self, consumer: Consumer, names: tuple[str, ...]) -> Iterator[None]:
        """Within it `consumer` is found by `names`."""
        for name in names:
            self.running.setdefault(name, set()).add(consumer)
        try:
            yield
        finally:
            for name in names:
                self.running[name].discard(consumer)
                if not self.running[name]:
                    del self.running[name]

    async def understand(self, body: bytes, read: Callable[[bytes], Any]) -> Any:
        """What `read` makes of the body: of a large one beside the event loop, which others wait for."""
        if len(body) <= LARGE_BODY_BYTES:
            return read(body)
        return await asyncio.get_running_loop().run_in_executor(self.tokenizing, read, body)

    async def tokenize(self, function: Callable[..., Any], *arguments: Any) -> Any:
        with self.engine.expecting():
            return await asyncio.get_running_loop().run_in_executor(self.tokenizing, function, *arguments)


class Consumer(AsyncHttpConsumer):  # type: ignore[misc]  # Channels publishes no types
    """One request, from its first byte to its line in the log."""

    methods: ClassVar[tuple[str, ...]] = ("GET", "HEAD")
    needs_key: ClassVar[bool] = True
    uses_model: ClassVar[bool] = False
    """Whether its requests keep the model from being idle."""
    route: ClassVar[str] = "other"
    """What its requests are counted as."""

    def __init__(self, *, serving: Serving) -> None:
        super().__init__()
        self.serving = serving
        self.status = 0
        self.streaming = False
        self._answering: asyncio.Task[None] | None = None
        self._cancelled = False
        self.report = ""
        """What the log says of this request beside its status: numbers, never content."""

    async def respond(self, body: bytes) -> None:
        raise NotImplementedError

    def cancel(self) -> None:
        """End it, with an error that says that somebody wanted that."""
        self._cancelled = True
        if self._answering is not None:
            self._answering.cancel()

    def error_body(self, error: ApiError) -> Any:
        return error.body()

    def error_event(self, error: ApiError) -> bytes:
        """What a stream that cannot go on says last."""
        return sse.event(error.body())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.monotonic()
        self.scope, self._send = scope, send
        self.request_id = accept_request_id(header(scope, b"x-request-id"))
        if self.uses_model:
            self.serving.meter.begin_use()
        try:
            await self._run(receive)
        except (ClientDisconnected, ConnectionError):
            self.status = CLIENT_CLOSED_REQUEST
        except ApiError as error:
            await self._refuse(error)
        except InferenceError as error:
            await self._refuse(_translated(error))
        except Exception:
            logger.exception("Request %s failed.", self.request_id)
            message = f"The model server has failed on this request ({self.request_id}). Try again."
            await self._refuse(ApiError(INTERNAL_ERROR, "internal_error", message))
        finally:
            seconds = time.monotonic() - began
            self.serving.meter.count_request(self.route, self.status, seconds)
            if self.uses_model:
                self.serving.meter.end_use()
            self._log(seconds)

    async def _run(self, receive: Receive) -> None:
        self._check_method_and_key()
        self._check_encoding()
        body = await self._read(receive)
        answering = self._answering = asyncio.create_task(self.respond(body))
        watching = asyncio.create_task(cancel_on_disconnect(receive, answering))
        try:
            with self.serving.cancellable(self, (self.request_id,) if self.uses_model else ()):
                await answering
        except asyncio.CancelledError:
            if self._cancelled and answering.cancelled():
                raise ApiError(CLIENT_CLOSED_REQUEST, "request_cancelled", "It was cancelled.") from None
            if watching.done() and answering.cancelled():
                raise ClientDisconnected from None
            answering.cancel()
            raise
        finally:
            watching.cancel()

    async def _read(self, receive: Receive) -> bytes:
        """The body. What is said to be too large is refused before any of it is read."""
        limit = self.serving.max_body_bytes
        try:
            if int(raw_header(self.scope, b"content-length") or b"0") > limit:
                raise BodyTooLarge(limit)
            return await read_body(receive, limit=limit)
        except BodyTooLarge:
            message = f"The body is larger than {limit} bytes, which is the most that this server reads."
            # The rest of it has no end to wait for.
            last = {"Connection": "close"}
            raise ApiError(TOO_LARGE, "request_too_large", message, headers=last) from None

    async def send_object(self, status: int, payload: Any, headers: dict[str, str] | None = None) -> None:
        self.status = status
        sent = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
        await send_json(self._send, status, payload, headers=[*sent, *self.id_headers()])

    async def send_text(self, text: bytes, *, content_type: bytes) -> None:
        self.status = OK
        await send_bytes(self._send, OK, text, content_type=content_type, headers=self.id_headers())

    async def start_stream(self) -> None:
        self.status, self.streaming = OK, True
        headers = [*STREAM_HEADERS, *self.id_headers()]
        await self._send({"type": "http.response.start", "status": OK, "headers": headers})

    async def send_chunks(self, payload: bytes, *, last: bool = False) -> None:
        await self._send({"type": "http.response.body", "body": payload, "more_body": not last})

    def _log(self, seconds: float) -> None:
        """One line per request; health checks, and model lists that go well, only when debugging."""
        is_usual = (
            self.status == OK or self.scope["path"] == "/health"
        )  # 503 four times a second while it loads
        level = logging.DEBUG if is_usual and not self.report else logging.INFO
        # Percent-encoded as it came: what a client sends must not be able to begin a line of its own.
        method, path = self.scope["method"], self.scope["raw_path"].decode("latin-1")
        logger.log(
            level, "%s %s %s %d %.3fs%s", self.request_id, method, path, self.status, seconds, self.report
        )

    def id_headers(self) -> list[tuple[bytes, bytes]]:
        return [(b"x-request-id", self.request_id.encode())]

    def _check_method_and_key(self) -> None:
        if self.scope["method"] not in self.methods:
            allowed = ", ".join(self.methods)
            message = f"{self.scope['path']} answers {allowed}, not {self.scope['method']}."
            raise ApiError(METHOD_NOT_ALLOWED, "method_not_allowed", message, headers={"Allow": allowed})
        key = self.serving.api_key.encode(errors="surrogateescape")
        if self.needs_key and key and not secrets.compare_digest(_key_in(self.scope), key):
            message = "This server needs its API key: send it as 'Authorization: Bearer KEY'."
            challenge = {"WWW-Authenticate": "Bearer", "x-should-retry": "false"}
            raise ApiError(UNAUTHORIZED, "invalid_api_key", message, headers=challenge)

    def _check_encoding(self) -> None:
        """A compressed body would be told to be no JSON, which helps nobody."""
        encoding = header(self.scope, b"content-encoding") or "identity"
        if encoding.lower() != "identity":
            message = (
                f"This server does not read bodies encoded as {encoding!r}. Send it without Content-Encoding."
            )
            raise ApiError(UNSUPPORTED_MEDIA, "unsupported_encoding", message)

    async def _refuse(self, error: ApiError) -> None:
        """Say what went wrong: with its own status, or in a stream that has begun as an event.

        The stream's connection is then cut, because the last body message is never sent: nobody takes the
        answer for a whole one.
        """
        if self.streaming:
            self.report += f" cut={error.code}"
            await self.send_chunks(self.error_event(error))
        else:
            await self.send_object(error.status, self.error_body(error), error.headers)


def _key_in(scope: Scope) -> bytes:
    """The key that the caller sent, as OpenAI's SDK does or as Anthropic's; empty when there is none.

    It is compared by its bytes: UTF-8 in a header is no text to ASGI. `bearer` may be written in any case.
    """
    sent = raw_header(scope, b"authorization") or raw_header(scope, b"x-api-key") or b""
    scheme, _, credentials = sent.partition(b" ")
    return credentials.strip() if scheme.lower() == b"bearer" else sent


def _translated(error: InferenceError) -> ApiError:
    if isinstance(error, NoChatModel):
        return ApiError(NOT_FOUND, "model_not_found", str(error), param="model")
    if isinstance(error, InputTooLong):
        return ApiError(BAD_REQUEST, "context_length_exceeded", str(error), param="input")
    if isinstance(error, InputInvalid | NothingLeft):
        param = error.param if isinstance(error, NothingLeft) else "input"
        return ApiError(BAD_REQUEST, "invalid_value", str(error), param=param)
    if isinstance(error, GrammarFailed):
        return ApiError(BAD_REQUEST, "invalid_grammar", str(error))
    later = {"Retry-After": RETRY_AFTER_SECONDS}
    for kind, code in UNAVAILABLE_FOR.items():
        if isinstance(error, kind):
            return ApiError(UNAVAILABLE, code, str(error), headers=later)
    code = "generation_failed" if isinstance(error, GenerationFailed) else "internal_error"
    return ApiError(INTERNAL_ERROR, code, str(error))


UNAVAILABLE_FOR: dict[type[InferenceError], str] = {
    EngineOverloaded: "overloaded",
    EngineStopping: "shutting_down",
    EngineNotReady: "model_unavailable",
}
