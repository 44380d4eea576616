"""Websockets are refused at the handshake, in words: what models are asked here goes over plain HTTP.

Applies to every path but the pages' own live channel, whoever asks and from wherever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ollaproject.wire import asgi
from proxy import errors
from proxy.routes import API_PREFIXES

if TYPE_CHECKING:
    from ollaproject.wire.asgi import Receive, Scope, Send
    from ollaproject.wire.openai_errors import ApiError

DENIAL = "websocket.http.response"


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI application of websockets that lead nowhere."""
    if (await receive())["type"] != "websocket.connect":
        return
    if DENIAL not in scope.get("extensions", {}):  # Daphne: then the handshake is answered with a bare 403
        await send({"type": "websocket.close"})
        return
    error = refusal(scope["path"])
    body = asgi.encode_json(error.body())
    head: dict[str, Any] = {"type": f"{DENIAL}.start", "status": error.status}
    head["headers"] = [(b"content-type", asgi.JSON), (b"content-length", b"%d" % len(body))]
    await send(head)
    await send({"type": f"{DENIAL}.body", "body": body})


def refusal(path: str) -> ApiError:
    if path.startswith(API_PREFIXES):
        return errors.no_websockets()
    return errors.not_found(path)
