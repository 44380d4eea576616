"""Ends the running answers of a key that is good no more, where OLLA_REVOKED_STREAMS says so."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

from proxy import errors
from proxy.access import key_table

if TYPE_CHECKING:
    from proxy.call import Call


class Revocations:
    """The running calls of one event loop that came with a key."""

    def __init__(self) -> None:
        self._running: dict[Call, asyncio.Task[Any]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def began(self, call: Call) -> None:
        task = asyncio.current_task()
        if task is None:
            return
        self._running[call] = task
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            key_table.follow(self._keys_changed)

    def ended(self, call: Call) -> None:
        self._running.pop(call, None)

    def _keys_changed(self) -> None:
        """Called in the thread that swaps the keys."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._end_refused)

    def _end_refused(self) -> None:
        table, now = key_table.keys(), time.time()
        for call, task in list(self._running.items()):
            if call.holder is None:
                continue
            holder = table.by_id.get(call.holder.id)
            reason = "was deleted" if holder is None else holder.refused(now)
            if reason:
                call.ended_by = errors.key_refused(call.holder.name, reason)
                self.ended(call)
                task.cancel()
