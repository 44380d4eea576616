"""Keeps this process's routing table new: one thread asks the database every 250 ms whether anything has
changed.

That finds every change by any process, lost messages or not. On SQLite the question is `PRAGMA data_version`,
which costs microseconds. It does not move for a connection's own writes, so the thread has a connection of
its own and only reads on it; to it, the writes of this process's other threads are somebody else's.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import Error, connection

from endpoints.health import feedback
from endpoints.models import Revision
from endpoints.routing import routing_table

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.25
STOP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Change:
    """The counters now: `routing` moves with the routing table, `access` with who may call, and
    `activity` with all that a page shows.
    """

    routing: int
    activity: int
    access: int = 0


class Watcher:
    """The thread and what it saw last. Each process has one, behind the functions of this module."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._subscribers: tuple[Callable[[Change], None], ...] = ()
        self._access_builders: tuple[Callable[[], None], ...] = ()
        self._seen: Change | None = None
        self._data_version: int | None = None
        self._failing = False

    def start(self) -> None:
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            self._stopping.clear()
            self._thread = threading.Thread(target=self._run, name="fleet-watch", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        with self._lock:
            thread, self._thread = self._thread, None
            self._stopping.set()
        if thread is not None:
            thread.join(STOP_SECONDS)
        self._ready.clear()

    @property
    def seen(self) -> Change | None:
        return self._seen

    def wait_ready(self, timeout: float) -> bool:
        return self._ready.wait(timeout)

    def subscribe(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        with self._lock:
            self._subscribers = (*self._subscribers, callback)

        def unsubscribe() -> None:
            with self._lock:
                self._subscribers = tuple(other for other in self._subscribers if other is not callback)

        return unsubscribe

    def rebuild_with_access(self, build: Callable[[], None]) -> None:
        with self._lock:
            if build not in self._access_builders:
                self._access_builders = (*self._access_builders, build)

    def _run(self) -> None:
        self._seen = self._data_version = None
        while not self._stopping.is_set():
            self._poll_once()
            self._stopping.wait(POLL_SECONDS)
        connection.close()

    def _poll_once(self) -> None:
        try:
            self._poll()
        except Error as error:
            if not self._failing:
                logger.error(
                    "The database does not answer (%s). The last routing table stays in use until it does.",
                    error,
                )
            self._failing = True
            self._data_version = None  # it counts per connection
            connection.close()
        except Exception:
            if not self._failing:
                logger.exception("The routing table could not be rebuilt. The last one stays in use.")
            self._failing = True
        else:
            if self._failing:
                logger.info("The routing table follows the database again.")
            self._failing = False

    def _poll(self) -> None:
        # Read before the counters: a commit in between then shows up as a new version at the next poll.
        version = _data_version()
        if version is not None and version == self._data_version:
            return
        counters = Revision.objects.filter(pk=Revision.SINGLETON).values_list("routing", "activity", "access")
        change = Change(*(counters.first() or (0, 0, 0)))
        if change != self._seen:
            if self._seen is None or change.access != self._seen.access:
                for build in self._access_builders:
                    build()  # when it raises, nothing is taken as seen: the next poll builds again
            if self._seen is None or change.routing != self._seen.routing:
                feedback.doubts.publish(routing_table.build(change.routing))
            self._seen = change
            self._ready.set()
            self._notify(change)
        self._data_version = version

    def _notify(self, change: Change) -> None:
        for callback in self._subscribers:
            try:
                callback(change)
            except Exception:
                logger.exception("A subscriber of fleet changes failed. The others are told.")


_watcher = Watcher()


def start() -> None:
    """Start watching in this process, unless that has happened already. Safe from any thread."""
    _watcher.start()


def stop() -> None:
    """Stop watching and close the thread's connection. The routing table stays as it is."""
    _watcher.stop()
    feedback.stop()


def wait_ready(timeout: float) -> bool:
    """Block until the first routing table is loaded. False when that takes longer than `timeout` seconds."""
    return _watcher.wait_ready(timeout)


async def ready(timeout: float = 10.0) -> bool:
    """As `wait_ready`, for a coroutine."""
    return await asyncio.to_thread(_watcher.wait_ready, timeout)


def subscribe(callback: Callable[[Change], None]) -> Callable[[], None]:
    """Have `callback` called after every change, in the watching thread: be quick, and hop to your own loop.

    Returns a function that ends the subscription.
    """
    return _watcher.subscribe(callback)


def seen() -> Change | None:
    """The counters as they were last read. None before that."""
    return _watcher.seen


def rebuild_with_access(build: Callable[[], None]) -> None:
    """Have `build` called in the watching thread before `ready`, and again whenever `access` has moved.

    For a table that another room keeps in memory. One that raises is called again until it does not.
    """
    _watcher.rebuild_with_access(build)


def _data_version() -> int | None:
    """SQLite's counter of other connections' commits. None where the database has no such thing."""
    if connection.vendor != "sqlite":
        return None
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA data_version")
        row: tuple[int] = cursor.fetchone()
    return row[0]
