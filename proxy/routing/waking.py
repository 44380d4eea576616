"""Requests for a model whose endpoint is asleep wait until it is awake; all others pass without a look.

The first of them rings (endpoints.routing.sleep), and nobody waits longer than the limit. A client that
streams is sent comments meanwhile, so that neither it nor a proxy in between gives up: its answer has begun
then, and what goes wrong afterwards is an event in it.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING

from endpoints.choices import Status
from endpoints.routing.sleep import bell
from endpoints.routing.snapshot import snapshot
from proxy import errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from endpoints.routing.snapshot import Target
    from proxy.call import Call
    from proxy.routing.routing import Question, Router

LOOK_SECONDS = 0.1
# A short wait is not worth a status that is given away: until then a failure still has its own.
FIRST_COMMENT_SECONDS = 10.0
COMMENT_SECONDS = 10.0
COMMENT = b": the model is being loaded\n\n"
# Those whose streams are server-sent events; others cannot be told anything before their answer.
EVENT_PATHS = b"/v1/"
UNKNOWN_WAIT_SECONDS = 30.0
"""What a client is told when nobody knows how long loading takes."""


class Waking:
    """For one event loop. `max_wait` is in seconds, 0 lets nobody wait; `max_waiting` bounds how many do."""

    def __init__(
        self,
        router: Router,
        *,
        max_wait: float,
        max_waiting: int,
        first_comment: float = FIRST_COMMENT_SECONDS,
        ring: Callable[[int], None] = bell.ring,
    ) -> None:
        self._router = router
        self._max_wait = max_wait
        self._max_waiting = max_waiting
        self._first_comment = first_comment
        self._ring = ring
        self.waiting = 0

    @property
    def is_needed(self) -> bool:
        """Whether anybody sleeps at all: only then a request is worth a look."""
        return snapshot().has_sleepers

    async def awake(self, call: Call, question: Question) -> None:
        """Return when an endpoint is awake that can answer, at once when none needs waking.

        Raises ApiError 503 when that takes too long, or is known to.
        """
        sleepers = self._router.sleepers(question)
        if not sleepers:
            return
        target = sleepers[0]
        if target.status == Status.ASLEEP:
            self._ring(target.id)
        expected = target.wakes_in_seconds
        if self._max_wait <= (expected or 0):
            raise errors.waking(question.model, _whole(expected or UNKNOWN_WAIT_SECONDS))
        if self.waiting >= self._max_waiting:
            raise errors.overloaded(question.model, _whole(expected or UNKNOWN_WAIT_SECONDS))
        self.waiting += 1
        try:
            await self._wait(call, question, target)
        finally:
            self.waiting -= 1

    async def _wait(self, call: Call, question: Question, target: Target) -> None:
        began = time.monotonic()
        comment_at = began + self._first_comment
        can_comment = call.stream and EVENT_PATHS in call.path
        seen = snapshot()
        while snapshot() is seen or self._router.sleepers(question):
            seen = snapshot()
            await asyncio.sleep(LOOK_SECONDS)
            now = time.monotonic()
            if now - began > self._max_wait:
                left = (target.wakes_in_seconds or 0) - (now - began)
                raise errors.waking(question.model, _whole(left if left > 0 else UNKNOWN_WAIT_SECONDS))
            if can_comment and now >= comment_at:
                comment_at = now + COMMENT_SECONDS
                await call.keep_waiting(COMMENT)


def _whole(seconds: float) -> int:
    return max(1, math.ceil(seconds))
