"""A new server of a model beside the one that runs: it loads, traffic moves, then the old one drains."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from inference.local.lifecycle import Process

if TYPE_CHECKING:
    from inference.local.running import Running

DRAIN_SECONDS = 20.0
# Longer than the gateway takes to learn that it sends no more requests to a server.
QUIET_SECONDS = 1.0
LEARNED_SECONDS = 3.0


class Server:
    """A running server with what the gateway needs to reach it."""

    def __init__(self, running: Running, *, port: int, key: str, commit: str) -> None:
        self.running = running
        self.port = port
        self.key = key
        self.commit = commit


class Renewal:
    """`successor` is the one that loads, `_leaving` are those that finish what they have begun."""

    def __init__(self) -> None:
        self.successor: Server | None = None
        self._leaving: list[tuple[Running, float]] = []

    @property
    def now(self) -> Process:
        return Process.NONE if self.successor is None else self.successor.running.now

    def running(self) -> list[Running]:
        beside = [] if self.successor is None else [self.successor.running]
        return [*beside, *(running for running, _ in self._leaving)]

    def let_go(self, running: Running) -> None:
        """It gets no new requests any more."""
        self._leaving.append((running, time.monotonic()))

    def give_up(self) -> None:
        """No successor is wanted now."""
        if self.successor is not None:
            self._leaving.append((self.successor.running, 0.0))
            self.successor = None

    def tick(self) -> bool:
        """Stop those that have finished. Whether the successor has died meanwhile."""
        self._leaving = [(each, since) for each, since in self._leaving if not _has_left(each, since)]
        return self.successor is not None and (
            self.successor.running.now == Process.HUNG or self.successor.running.ending() is not None
        )

    def stop(self) -> None:
        for running in self.running():
            running.stop()

    def has_ended(self) -> bool:
        return all(running.ending() is not None for running in self.running())


def _has_left(running: Running, since: float) -> bool:
    if running.ending() is not None:
        return True
    waited = time.monotonic() - since
    in_use = running.now == Process.HEALTHY and running.idle_seconds < QUIET_SECONDS
    if waited > DRAIN_SECONDS or (waited > LEARNED_SECONDS and not in_use):
        running.stop()
    return False
