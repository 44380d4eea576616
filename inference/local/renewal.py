"""A new server of a model beside the one that runs: it loads, traffic moves, then the old one leaves."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from inference.local.lifecycle import Process

if TYPE_CHECKING:
    from datetime import datetime

    from inference.local.running import Running

# How long a server may finish what it has begun: when a person waits for its end, when its successor does,
# and when nobody does.
DRAIN_SECONDS = 20.0
AHEAD_SECONDS = 60.0
BESIDE_SECONDS = 600.0
QUIET_SECONDS = 1.0
# The gateway's processes take a moment to learn that they send it no more requests.
LEARNED_SECONDS = 1.0


class Server:
    """A running server with what the gateway needs to reach it.

    `began_at` is by this program's clock: Linux says of a process that it began up to a second early.
    """

    def __init__(self, running: Running, *, began_at: datetime, port: int, key: str, commit: str) -> None:
        self.running = running
        self.began_at = began_at
        self.port = port
        self.key = key
        self.commit = commit


class Departure:
    """Of a server that gets no new requests: it ends when it is done, `within` seconds at the latest."""

    def __init__(self, running: Running, *, within: float) -> None:
        now = time.monotonic()
        self.running = running
        self._learned_at = now + min(within, LEARNED_SECONDS)
        self._until = now + within

    def hurry(self) -> None:
        """Somebody waits for its end."""
        self._until = min(self._until, time.monotonic() + DRAIN_SECONDS)

    def look(self) -> None:
        """Stop the server if it is time."""
        now, running = time.monotonic(), self.running
        busy = now < self._learned_at or running.idle_seconds < QUIET_SECONDS
        if now > self._until or running.now == Process.HUNG or not busy:
            running.stop()


class Renewal:
    """`successor` is the one that loads, `_leaving` are those that finish what they have begun."""

    def __init__(self) -> None:
        self.successor: Server | None = None
        self._leaving: list[Departure] = []

    @property
    def now(self) -> Process:
        return Process.NONE if self.successor is None else self.successor.running.now

    def running(self) -> list[Running]:
        beside = [] if self.successor is None else [self.successor.running]
        return [*beside, *(each.running for each in self._leaving)]

    def let_go(self, running: Running) -> None:
        """It gets no new requests any more."""
        self._leaving.append(Departure(running, within=BESIDE_SECONDS))

    def give_up(self) -> None:
        """No successor is wanted now."""
        if self.successor is not None:
            self._leaving.append(Departure(self.successor.running, within=0))
            self.successor = None

    def hurry(self) -> None:
        """Nothing of this model is wanted any more."""
        self.give_up()
        for departure in self._leaving:
            departure.hurry()

    def tick(self) -> bool:
        """Stop those that have finished. Whether the successor has died meanwhile."""
        self._leaving = [each for each in self._leaving if each.running.ending() is None]
        for departure in self._leaving:
            departure.look()
        return self.successor is not None and (
            self.successor.running.now == Process.HUNG or self.successor.running.ending() is not None
        )
