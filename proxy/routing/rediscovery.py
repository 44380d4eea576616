"""Discovery on miss: before a model is said to be unknown, the endpoints are asked what they have now.

Whoever comes while they are being asked waits for the same answer, and a name that nobody knows does not make
us ask again at once. The asking happens in a thread; a request waits no longer than it was given.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from endpoints.health.asking import ask_all
from endpoints.routing.snapshot import snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

# However many unknown names are asked for, the endpoints are not asked more often than this.
PAUSE_SECONDS = 5.0
# How long the new routing table may take to reach this process (endpoints.routing.watch); how often we look.
ARRIVAL_SECONDS = 1.0
LOOK_SECONDS = 0.02


class Rediscovery:
    """For one event loop. `seconds` is how long endpoints have to answer."""

    def __init__(self, *, seconds: float, ask: Callable[..., int] = ask_all) -> None:
        self._seconds = seconds
        self._ask = ask
        self._asking: asyncio.Task[None] | None = None
        self._asked_at = float("-inf")

    async def ask(self) -> None:
        """Returns when the routing table of this process is as new as the answers; never raises for them."""
        if self._asking is None:
            if time.monotonic() - self._asked_at < PAUSE_SECONDS:
                return
            self._asking = asyncio.create_task(self._renew())
            self._asking.add_done_callback(self._done)
        # A client that leaves does not end it for the others.
        await asyncio.shield(self._asking)

    def _done(self, _task: asyncio.Task[None]) -> None:
        self._asking = None
        self._asked_at = time.monotonic()

    async def _renew(self) -> None:
        try:
            wanted = await asyncio.to_thread(self._ask, seconds=self._seconds)
        except Exception:
            logger.exception("The endpoints could not be asked for their models.")
            return
        deadline = time.monotonic() + ARRIVAL_SECONDS
        while snapshot().revision < wanted and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)
