"""ASGI messages in a few words: read a body, answer with JSON, notice that the client has left."""

from __future__ import annotations

import json
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Iterable, MutableMapping

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Application = Callable[[Scope, Receive, Send], Awaitable[None]]
    Pair = tuple[bytes, bytes]
    RawHeaders = Iterable[Pair]
    Leaving = Callable[[asyncio.Task[Any]], None]

JSON = b"application/json"
# The extension by which our servers tell that a client has left: without it, that takes a task of its own
# that waits for `http.disconnect`. Its value is called with what is to be called then, with the task that
# answers the request.
CLIENT_LEFT = "olla.client_left"
# The extension by which they say that a head has come before: a dict, the same one for all requests whose
# heads are the same but for Content-Length. Who answers keeps there what follows from such a head alone.
SAME_HEAD = "olla.same_head"
# The extension by which they give a body that has come whole with its head, without a `receive`: called, it
# gives all of it, once, or None when it has to be received.
TAKE_BODY = "olla.take_body"
# The extension by which they say that the message which begins an answer may have more than ASGI knows:
# `HEADER_LINES`, a sequence of `HeaderLines` that come after the headers, and `WHOLE_BODY`, all of the body.
FULL_START = "olla.full_start"
HEADER_LINES = "olla.header_lines"
WHOLE_BODY = "olla.whole_body"


class ClientDisconnected(Exception):
    """The client left before its request was whole."""


class BodyTooLarge(Exception):
    """The request's body is larger than it may be."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is larger than {limit} bytes")
        self.limit = limit


def raw_header(scope: Scope, name: bytes) -> bytes | None:
    """The first value of the request header `name` (lower case), or None."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return None


def header(scope: Scope, name: bytes) -> str | None:
    """The same, decoded as latin-1."""
    value = raw_header(scope, name)
    return None if value is None else value.decode("latin-1")


async def read_body(receive: Receive, *, limit: int) -> bytes:
    """The whole request body.

    Raises ClientDisconnected when the client leaves meanwhile, BodyTooLarge as soon as more than `limit`
    bytes came.
    """
    first = await receive()
    if first["type"] != "http.request":
        raise ClientDisconnected
    if not first.get("more_body", False):
        return _within(limit, first.get("body", b""))
    # To join pieces would take twice the body's memory. This hands over what it holds.
    gathered = BytesIO()
    message = first
    while True:
        gathered.write(message.get("body", b""))
        if gathered.tell() > limit:
            raise BodyTooLarge(limit)
        if not message.get("more_body", False):
            return gathered.getvalue()
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnected


def _within(limit: int, body: bytes) -> bytes:
    if len(body) > limit:
        raise BodyTooLarge(limit)
    return body


async def cancel_on_disconnect(receive: Receive, task: asyncio.Task[Any]) -> None:
    """Wait until the client leaves, then cancel `task`. To be run as a task of its own, beside the answer."""
    while (await receive())["type"] != "http.disconnect":
        pass
    task.cancel()


def encode_json(payload: Any) -> bytes:
    """JSON without superfluous spaces, in UTF-8."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


async def send_bytes(
    send: Send, status: int, body: bytes, *, content_type: bytes, headers: RawHeaders = ()
) -> None:
    """A whole answer with its length."""
    own = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*own, *headers]})
    await send({"type": "http.response.body", "body": body})


async def send_json(send: Send, status: int, payload: Any, *, headers: RawHeaders = ()) -> None:
    await send_bytes(send, status, encode_json(payload), content_type=JSON, headers=headers)
