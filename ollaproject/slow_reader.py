"""A client that does not read what it is sent: a laptop that sleeps, a program that was stopped."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


class SlowReader:
    """Who reads nothing for so many seconds is taken for gone: others wait for what it holds."""

    __slots__ = ("_loop", "_seconds", "_timer", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._transport = transport
        self._loop = loop
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None

    def falls_behind(self) -> None:
        """The connection takes no more."""
        self._look(math.inf)

    def catches_up(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, unread: float) -> None:
        left = self._transport.get_write_buffer_size()
        if left < unread:
            self._timer = self._loop.call_later(self._seconds, self._look, left)
        else:
            self._transport.abort()
