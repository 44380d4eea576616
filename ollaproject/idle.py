"""What a connection does about a client that sends nothing: between two requests, or in the middle of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from ollaproject.exchange import Exchange


class Idling:
    """For one of uvicorn's protocols, which has these attributes."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    timeout_keep_alive: int
    running: Exchange | None = None

    _idle_since = 0.0
    _idle_timer: asyncio.TimerHandle | None = None

    def _rest(self) -> None:
        """From now on, a whole request head has to come within the keep-alive time."""
        self._idle_since = self.loop.time()
        self._watch_client()

    def _watch_client(self) -> None:
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._on_idle_timer)

    def _on_idle_timer(self) -> None:
        # The timer is not moved with every request: it fires too early, sees that, and sets itself again.
        self._idle_timer = None
        if self.running is not None:
            self._look_at_sender(self.running)
            return
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._idle_timer = self.loop.call_later(left, self._on_idle_timer)
        else:
            self.transport.close()

    def _look_at_sender(self, running: Exchange) -> None:
        """Who sends nothing more of a request for the keep-alive time is taken for gone."""
        if running.is_stalled():
            self.transport.abort()
        elif running.more_body:
            self._watch_client()

    def _stop_timer(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
