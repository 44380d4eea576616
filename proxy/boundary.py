"""What every answer of ours has in common: one error boundary, and work that stops when its client has left.

A Channels consumer, but for its dispatch: the stock one hops to a thread per message, holds a channel layer,
and never sees a client leave while it answers.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from channels.generic.http import AsyncHttpConsumer

from ollaproject.wire.asgi import ClientDisconnected
from ollaproject.wire.openai_errors import ApiError
from proxy import errors
from proxy.answer.relay import break_off
from proxy.call import Call

if TYPE_CHECKING:
    from ollaproject.wire.asgi import Receive, Scope, Send
    from proxy.gateway import Gateway

logger = logging.getLogger(__name__)

READ_METHODS = ("GET", "HEAD")


class GatewayConsumer(AsyncHttpConsumer):  # type: ignore[misc]
    """Subclasses say in `answer` what the answer is."""

    def __init__(self, *, gateway: Gateway) -> None:
        super().__init__()
        self.gateway = gateway

    async def answer(self, call: Call) -> None:
        raise NotImplementedError

    def finished(self, call: Call) -> None:
        """The call is over, however it ended."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = Call(scope, receive, send)
        try:
            await self._answer_or_fail(call)
        except ClientDisconnected:
            call.client_left = True
        except asyncio.CancelledError:
            # This is the outermost frame of the request's task: here the cancellation has done its work.
            if not call.client_left:
                await break_off(call, call.ended_by or errors.shutting_down())
        finally:
            call.stop_watching()
            self.finished(call)

    async def _answer_or_fail(self, call: Call) -> None:
        """The one place where errors become answers."""
        try:
            await self.answer(call)
        except ApiError as error:
            await break_off(call, error)
        except ClientDisconnected:
            raise
        except Exception:
            logger.exception("Request %s failed", call.request_id, extra={"request_id": call.request_id})
            await call.fail(errors.internal_error())
