"""Lets the pages of some origins call an application (Fetch standard, “CORS protocol”).

Cookies mean nothing on the routes that it is for, so requests with credentials are never allowed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ollaproject.wire import asgi
from ollaproject.wire.openai_errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ollaproject.wire.asgi import Message, Receive, Scope, Send

    Pair = tuple[bytes, bytes]

ANY: Final = "*"
# `https://chat.example.com`, `http://localhost:3000`, and the schemes of desktop programs: `app://obsidian.md`.
ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#@,*]+")
METHODS: Final = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
HEADER_NAMES: Final = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,4096}")
REMEMBER_SECONDS: Final = b"600"
MAX_SHOWN: Final = 100


def is_origin(text: str) -> bool:
    """Whether `text` can stand in a list of origins: one without a path, or `*`."""
    return text == ANY or ORIGIN.fullmatch(text.lower()) is not None


class Cors:
    """The origins that may call: those that `origins` names, or any. An operator named them in `setting`."""

    def __init__(self, origins: Iterable[str], *, setting: str) -> None:
        named = {origin.lower().encode("latin-1") for origin in origins}
        self._any = ANY.encode() in named
        self._named = frozenset(named)
        self._setting = setting

    def __bool__(self) -> bool:
        """Whether any origin is named at all."""
        return bool(self._named)

    def allows(self, origin: bytes) -> bool:
        return self._any or origin.lower() in self._named

    def pairs(self, origin: bytes) -> list[Pair]:
        """What lets a page of `origin` read an answer, all of its headers included."""
        if self._any:
            return [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", b"*")]
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", b"*"),
            (b"vary", b"Origin"),
        ]

    def refusal(self, origin: bytes) -> ApiError:
        """What a page of `origin` is told, which is not allowed."""
        shown = origin[:MAX_SHOWN].decode("ascii", "replace")
        message = f"Pages of {shown!r} may not call this server: {self._setting} does not name their origin."
        return ApiError(403, "origin_not_allowed", message)


class AllowingOrigins:
    """An ASGI application that lets the pages of `cors` call `application`, and answers their preflights."""

    def __init__(self, application: asgi.Application, cors: Cors) -> None:
        self._application = application
        self._cors = cors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origin = asgi.raw_header(scope, b"origin")
        if origin and is_preflight(scope):
            await self._answer_preflight(scope, origin, send)
        elif origin and self._cors.allows(origin):
            await self._application(scope, receive, self._adding(self._cors.pairs(origin), send))
        else:
            await self._application(scope, receive, send)

    @staticmethod
    def _adding(pairs: list[Pair], send: Send) -> Send:
        async def send_with_them(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *pairs]
            await send(message)

        return send_with_them

    async def _answer_preflight(self, scope: Scope, origin: bytes, send: Send) -> None:
        if not self._cors.allows(origin):
            error = self._cors.refusal(origin)
            await _answer(send, error.status, [(b"content-type", asgi.JSON)], asgi.encode_json(error.body()))
            return
        pairs = [
            *self._cors.pairs(origin),
            (b"access-control-allow-methods", METHODS),
            (b"access-control-max-age", REMEMBER_SECONDS),
        ]
        asked = asgi.raw_header(scope, b"access-control-request-headers")
        if asked and HEADER_NAMES.fullmatch(asked):
            pairs.append((b"access-control-allow-headers", asked))
        if asgi.raw_header(scope, b"access-control-request-private-network") == b"true":
            pairs.append((b"access-control-allow-private-network", b"true"))
        await _answer(send, 204, pairs)


def is_preflight(scope: Scope) -> bool:
    """A browser asks beforehand whether a page may send a request."""
    asked = asgi.raw_header(scope, b"access-control-request-method")
    return scope["method"] == "OPTIONS" and bool(asked)


async def _answer(send: Send, status: int, pairs: list[Pair], body: bytes = b"") -> None:
    if body:
        pairs = [*pairs, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body, "more_body": False})
