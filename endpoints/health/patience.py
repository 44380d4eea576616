"""Time limits that stand still while this process itself does not get on: its own delay is nobody's fault.

A beat of the event loop notices when it comes late. What was lost is granted to every limit that runs, so
that a machine without CPU time to spare does not take its endpoints for dead.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BEAT_SECONDS = 0.02
# Less is how timers are.
TOLERATED_SECONDS = 0.01


class Patience:
    """For one event loop. It beats only while a limit runs. `lost` is what it came late, in seconds."""

    def __init__(self) -> None:
        self.lost = 0.0
        self._limits: set[asyncio.Timeout] = set()
        self._due = 0.0
        self._beats = False

    @asynccontextmanager
    async def limit(self, seconds: float) -> AsyncIterator[None]:
        """Raises TimeoutError after `seconds` in which the loop ran as it should."""
        async with asyncio.timeout(seconds) as timeout:
            self._limits.add(timeout)
            if not self._beats:
                self._beats = True
                self._wait()
            try:
                yield
            finally:
                self._limits.discard(timeout)

    def _wait(self) -> None:
        # A callback and no task: in a late turn of the loop it comes before limits that fell due after it.
        loop = asyncio.get_running_loop()
        self._due = loop.time() + BEAT_SECONDS
        loop.call_at(self._due, self._beat)

    def _beat(self) -> None:
        late = asyncio.get_running_loop().time() - self._due
        if late > TOLERATED_SECONDS:
            self.lost += late
            for timeout in self._limits:
                when = timeout.when()
                if when is not None and not timeout.expired():
                    timeout.reschedule(when + late)
        if self._limits:
            self._wait()
        else:
            self._beats = False
