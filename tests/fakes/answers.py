"""What a fake upstream does with a request: a script of steps, so that it can break the wire anywhere.

A step is bytes to write, or one of Pause, Gate, HANG, RESET, CLOSE. A script that ends without CLOSE keeps
the connection alive. The shapes are vllm-mlx's.
"""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

CREATED = 1705334400
REASONS = {200: "OK", 401: "Unauthorized", 429: "Too Many Requests", 503: "Service Unavailable"}


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """A request as it arrived: the raw header pairs in their order, and when (time.monotonic)."""

    method: str
    path: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    at: float
    connection: int

    def header(self, name: str) -> str | None:
        """The first value of a header, None when it was not sent."""
        wanted = name.lower().encode()
        return next((value.decode("latin-1") for key, value in self.headers if key.lower() == wanted), None)

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait before the next step."""

    seconds: float


class Act(Enum):
    """Steps without a value."""

    HANG = "say nothing more, keep the connection open"
    RESET = "tear the connection down with a TCP reset"
    CLOSE = "close the connection in order"


HANG, RESET, CLOSE = Act.HANG, Act.RESET, Act.CLOSE


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Gate:
    """A step that waits until the test opens it, once per `open()`: chunks follow the test, not a clock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._permits = 0
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    def open(self) -> None:
        with self._lock:
            if not self._waiters:
                self._permits += 1
                return
            loop, waiter = self._waiters.pop(0)
        loop.call_soon_threadsafe(_resolve, waiter)

    async def passed(self) -> None:
        with self._lock:
            if self._permits:
                self._permits -= 1
                return
            loop = asyncio.get_running_loop()
            waiter: asyncio.Future[None] = loop.create_future()
            self._waiters.append((loop, waiter))
        await waiter


if TYPE_CHECKING:
    Step = bytes | Pause | Gate | Act
    Answer = Callable[[SeenRequest], Iterable[Step]]


def head(status: int, headers: Mapping[str, str | int]) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {REASONS.get(status, 'Whatever')}",
        *(f"{k}: {v}" for k, v in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


LAST_CHUNK = b"0\r\n\r\n"
STREAM_HEAD = head(200, {"Content-Type": "text/event-stream; charset=utf-8", "Transfer-Encoding": "chunked"})


def raw(*steps: Step) -> Answer:
    """Exactly these steps, whatever was asked."""
    return lambda _request: steps


def respond(
    payload: Any,
    *,
    status: int = 200,
    headers: Mapping[str, str | int] | None = None,
    before: Sequence[Step] = (),
) -> Answer:
    """A whole JSON answer (or bytes as they are) with its length."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    fields = {"Content-Type": "application/json", "Content-Length": len(body), **(headers or {})}
    return raw(*before, head(status, fields) + body)


def error(status: int, message: str, *, headers: Mapping[str, str | int] | None = None) -> Answer:
    """An error in OpenAI's shape, as backends answer them."""
    payload = {"error": {"message": message, "type": "backend_error", "param": None, "code": None}}
    return respond(payload, status=status, headers=headers)


def sse(
    events: Sequence[bytes], *, between: Step | None = None, end: Sequence[Step] = (LAST_CHUNK,)
) -> Answer:
    """A stream, one HTTP chunk per event: `between` comes before every event but the first, then `end`."""

    def steps(_request: SeenRequest) -> Iterator[Step]:
        yield STREAM_HEAD
        for index, event in enumerate(events):
            if index and between is not None:
                yield between
            yield chunk(event)
        yield from end

    return steps


def flood(*, piece: bytes = b"x" * 65536, pieces: int | None = None) -> Answer:
    """An event stream as fast as the reader takes it, without end when `pieces` is None."""

    def steps(_request: SeenRequest) -> Iterator[Step]:
        yield STREAM_HEAD
        sent = 0
        while pieces is None or sent < pieces:
            yield chunk(b"data: " + piece + b"\n\n")
            sent += 1
        yield LAST_CHUNK

    return steps


def trickle(data: bytes, *, seconds: float) -> Answer:
    """`data`, byte for byte, with a pause after each: headers and all."""

    def steps(_request: SeenRequest) -> Iterator[Step]:
        for index in range(len(data)):
            yield data[index : index + 1]
            yield Pause(seconds)

    return steps


def event(payload: Any) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def chat_events(model: str, words: Sequence[str]) -> list[bytes]:
    """A chat stream as vllm-mlx writes it, `[DONE]` included."""

    def piece(delta: dict[str, str], finish_reason: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        fixed = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": CREATED, "model": model}
        return event({**fixed, "choices": [choice]})

    contents = [piece({"content": word}, None) for word in words]
    return [piece({"role": "assistant"}, None), *contents, piece({}, "stop"), b"data: [DONE]\n\n"]


def models_list(models: Sequence[str]) -> dict[str, Any]:
    fixed = {"object": "model", "created": CREATED, "owned_by": "vllm-mlx", "parent": None, "permission": []}
    return {"object": "list", "data": [{**fixed, "id": name, "root": name} for name in models]}


def chat(request: SeenRequest) -> Iterable[Step]:
    """A chat completion, streamed when asked to be."""
    asked = request.json()
    if asked.get("stream"):
        return sse(chat_events(asked["model"], ["MLX", " is", " fast."]))(request)
    message = {"role": "assistant", "content": "MLX is fast."}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    fixed = {"id": "chatcmpl-1", "object": "chat.completion", "created": CREATED, "model": asked["model"]}
    return respond({**fixed, "choices": [choice], "usage": usage})(request)


def completion(request: SeenRequest) -> Iterable[Step]:
    asked = request.json()
    choice = {"index": 0, "text": " speed.", "logprobs": None, "finish_reason": "stop"}
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    fixed = {"id": "cmpl-1", "object": "text_completion", "created": CREATED, "model": asked["model"]}
    return respond({**fixed, "choices": [choice], "usage": usage})(request)


def embeddings(request: SeenRequest) -> Iterable[Step]:
    asked = request.json()
    rows = [{"object": "embedding", "index": 0, "embedding": [0.0234, -0.0567, 0.0891]}]
    usage = {"prompt_tokens": 8, "total_tokens": 8}
    model = asked.get("model", "m1")  # a server with one model needs no name
    return respond({"object": "list", "data": rows, "model": model, "usage": usage})(request)


def health(
    *,
    status: str = "healthy",
    model_loaded: bool = True,
    model_name: str | None = None,
    http_status: int = 200,
) -> Answer:
    """vllm-mlx's health answer. It is 200 also when `status` says otherwise, as the real one's is."""
    payload = {
        "status": status,
        "model_loaded": model_loaded,
        "model_name": model_name,
        "engine_type": "batched",
    }
    return respond(payload, status=http_status)
