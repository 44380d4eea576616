"""JSON that a dashboard polls: a weak ETag over what does not age by itself, 304 when unchanged, gzip.

All beside the event loop: what is told of a large fleet takes milliseconds.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
from typing import TYPE_CHECKING, Any

from ollaproject.wire import asgi
from proxy.request import headers

if TYPE_CHECKING:
    from proxy.call import Call
    from proxy.request.headers import Pair

# These change from second to second while nothing happens.
AGEING = frozenset(
    {"timestamp", "uptime", "last_check", "next_check", "health_check", "last_model_sync", "last_seen"}
)
OK, NOT_MODIFIED = 200, 304
MIN_GZIP_BYTES = 256
MAX_CONDITION_BYTES = 1024
FIXED_HEADERS = (
    (b"content-type", asgi.JSON),
    (b"cache-control", b"private, no-cache"),
    (b"vary", b"Accept-Encoding"),
)


async def respond(call: Call, payload: dict[str, Any]) -> None:
    """Answer with `payload`, or with 304 if the client has it already."""
    condition, accepted = (
        headers.value(call.headers, name) for name in (b"if-none-match", b"accept-encoding")
    )
    status, body, pairs = await asyncio.to_thread(_answer, payload, condition, accepted)
    if status == NOT_MODIFIED:
        await call.answer(status, body, pairs)
    else:
        await call.respond(status, body, pairs)


def _answer(payload: dict[str, Any], condition: bytes, accepted: bytes) -> tuple[int, bytes, list[Pair]]:
    etag = weak_etag(payload)
    pairs = [*FIXED_HEADERS, (b"etag", etag)]
    if matches(condition, etag):
        return NOT_MODIFIED, b"", pairs
    body, more = encoded(payload, accepted)
    return OK, body, [*pairs, *more]


def encoded(payload: dict[str, Any], accepted: bytes) -> tuple[bytes, list[Pair]]:
    """The body, by the encodings that the client has `accepted`, and the headers that say so."""
    body = asgi.encode_json(payload)
    if len(body) < MIN_GZIP_BYTES or b"gzip" not in accepted:
        return body, []
    return gzip.compress(body, compresslevel=5, mtime=0), [(b"content-encoding", b"gzip")]


def weak_etag(payload: dict[str, Any]) -> bytes:
    text = json.dumps(lasting(payload), sort_keys=True)
    return b'W/"' + hashlib.sha256(text.encode()).hexdigest()[:32].encode() + b'"'


def lasting(value: Any) -> Any:
    """`value` without the fields that only say how long ago something was."""
    if isinstance(value, dict):
        return {key: lasting(inner) for key, inner in value.items() if key not in AGEING}
    if isinstance(value, list):
        return [lasting(inner) for inner in value]
    return value


def matches(condition: bytes, etag: bytes) -> bool:
    """If-None-Match compares weakly (RFC 9110, 13.1.2)."""
    if not condition or len(condition) > MAX_CONDITION_BYTES:
        return False
    bare = etag.removeprefix(b"W/")
    return any(tag.strip().removeprefix(b"W/") in (b"*", bare) for tag in condition.split(b","))
