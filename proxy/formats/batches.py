"""Embeddings of many texts at once: split over the endpoints, and put together again in order.

Vectors are moved as the bytes that they came as. One part that fails is the answer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from ollaproject.wire.asgi import JSON
from ollaproject.wire.unreadable import UNREADABLE
from proxy import errors
from proxy.errors import BrokenAnswerError
from proxy.request.beside import done
from proxy.request.headers import to_client
from proxy.routing.failover import gathered

if TYPE_CHECKING:
    import mmap
    from collections.abc import Awaitable, Callable, Sequence

    from proxy.call import Call
    from proxy.routing.failover import Begun

PATH = b"/v1/embeddings"
FIRST_ERROR_STATUS = 400


class Part(NamedTuple):
    """A request for `size` of the inputs."""

    body: bytes
    size: int


class _Row(msgspec.Struct):
    index: int
    embedding: msgspec.Raw
    object: str = "embedding"


class _Answer(msgspec.Struct):
    data: list[_Row]
    model: str = ""
    usage: dict[str, Any] = msgspec.field(default_factory=dict)
    object: str = "list"


_decode_request = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_inputs = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode


def split(body: bytes | mmap.mmap, size: int) -> list[Part]:
    """The requests that together ask for the same, each for at most `size` inputs; none when it fits in one.

    A list of numbers is one input, in tokens.
    """
    fields = _decode_request(body)
    given = bytes(fields.get("input", b"")).lstrip()
    if given[:1] != b"[" or given[1:].lstrip()[:1] not in (b'"', b"["):
        return []
    inputs = _decode_inputs(given)
    if len(inputs) <= size:
        return []
    chunks = [inputs[start : start + size] for start in range(0, len(inputs), size)]
    return [Part(msgspec.json.encode({**fields, "input": chunk}), len(chunk)) for chunk in chunks]


def joined(parts: Sequence[Part], bodies: Sequence[bytes]) -> bytes:
    """One answer out of those to the parts. Raises BrokenAnswerError when one is not what was asked for."""
    whole = _Answer([])
    for part, body in zip(parts, bodies, strict=True):
        try:
            answer = _decode_answer(body)
        except UNREADABLE as error:
            raise BrokenAnswerError("answered with something that is no list of embeddings") from error
        if sorted(row.index for row in answer.data) != list(range(part.size)):
            raise BrokenAnswerError(f"was asked for {part.size} embeddings and sent others")
        first = len(whole.data)
        for row in sorted(answer.data, key=lambda row: row.index):
            row.index += first
            whole.data.append(row)
        whole.model = answer.model
        for name, count in answer.usage.items():
            if type(count) is int:
                whole.usage[name] = whole.usage.get(name, 0) + count
    return msgspec.json.encode(whole)


async def answer(call: Call, parts: Sequence[Part], ask: Callable[[bytes], Awaitable[Begun]]) -> None:
    """Ask for all parts at once, and give the client one answer. Raises ApiError as `ask` does."""
    tasks = [asyncio.create_task(_whole(ask, part.body)) for part in parts]
    try:
        answers = await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    call.ttft = call.elapsed
    for begun, body in answers:
        if begun.answer.status >= FIRST_ERROR_STATUS:
            pairs = [
                pair for pair in to_client(begun.answer.headers, stream=False) if pair[0] != b"content-length"
            ]
            await call.respond(begun.answer.status, body, pairs)
            return
    try:
        bodies = [body for _, body in answers]
        body = await done(sum(map(len, bodies)), joined, parts, bodies)
    except BrokenAnswerError as error:
        raise errors.all_failed([f"an endpoint {error}"], timed_out=False) from error
    if call.tap is not None:
        call.tap.take(body)
    await call.respond(200, body, [(b"content-type", JSON)])


async def _whole(ask: Callable[[bytes], Awaitable[Begun]], body: bytes) -> tuple[Begun, bytes]:
    begun = await ask(body)
    return begun, await gathered(begun)
