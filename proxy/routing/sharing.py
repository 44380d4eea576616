"""Tells the other processes of a gateway where its sticky sessions are, and hears it from them, over Redis.

One thread, one stream: each process adds its new pins in batches and reads what the others added. A stream
keeps as well, so a process that starts reads the pins of the last idle time first. While Redis is away each
process goes by its own.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import redis

if TYPE_CHECKING:
    from proxy.routing.sticky import Sticky

logger = logging.getLogger(__name__)

STREAM = "olla:sticky"
# How long a read waits for news, and with it how old a pin may get before the others hear of it.
BLOCK_MS = 100
BATCH_PINS = 500
READ_ENTRIES = 500
SOCKET_TIMEOUT_SECONDS = 2.0
RETRY_SECONDS = 2.0
STOP_SECONDS = 5.0
MS_PER_SECOND = 1000


class Sharing:
    """The thread. `tell` and `start` return at once and are called from the event loop's thread."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(
            url, socket_timeout=SOCKET_TIMEOUT_SECONDS, socket_connect_timeout=SOCKET_TIMEOUT_SECONDS
        )
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._telling: deque[tuple[int, int]] = deque()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._last_id = ""
        self._failing = False
        # Set whenever the thread has read all that there was.
        self.caught_up = threading.Event()

    def start(self, sticky: Sticky) -> None:
        """Begin, unless that has happened already."""
        if self._thread is None:
            self._telling = deque(self._telling, maxlen=sticky.rules.max_sessions)
            self._thread = threading.Thread(
                target=self._run, args=(sticky,), name="sticky-sharing", daemon=True
            )
            self._thread.start()

    def tell(self, key: int, endpoint_id: int) -> None:
        self._telling.append((key, endpoint_id))

    def stop(self) -> None:
        """Tell what is left, and end."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)

    def _run(self, sticky: Sticky) -> None:
        while not self._stopped.is_set():
            try:
                self._turn(sticky)
            except (redis.RedisError, OSError) as error:
                if not self._failing:
                    logger.warning("Redis does not answer (%s): sticky sessions are not shared.", error)
                self._failing = True
                self._stopped.wait(RETRY_SECONDS)
            else:
                if self._failing:
                    logger.info("Sticky sessions are shared again.")
                self._failing = False
        with suppress(redis.RedisError, OSError):
            self._tell_all(sticky)
        self._client.close()

    def _turn(self, sticky: Sticky) -> None:
        if not self._last_id:
            self._last_id = f"{self._now_ms() - int(sticky.rules.idle_ttl * MS_PER_SECOND)}-0"
        self._tell_all(sticky)
        found: Any = self._client.xread({STREAM: self._last_id}, count=READ_ENTRIES, block=BLOCK_MS)
        if not found:
            self.caught_up.set()
            return
        now = self._now_ms()
        for entry_id, fields in found[0][1]:
            self._last_id = entry_id.decode()
            if fields[b"by"].decode() != self._name:
                ago = (now - int(self._last_id.partition("-")[0])) / MS_PER_SECOND
                sticky.heard.extend((key, place, max(0.0, ago)) for key, place in json.loads(fields[b"pins"]))

    def _tell_all(self, sticky: Sticky) -> None:
        while self._telling:
            pins = [self._telling.popleft() for _ in range(min(BATCH_PINS, len(self._telling)))]
            entry: Any = {"by": self._name, "pins": json.dumps(pins)}
            self._client.xadd(STREAM, entry, maxlen=sticky.rules.max_sessions, approximate=True)
            self._client.expire(STREAM, int(sticky.rules.idle_ttl) + 1)

    def _now_ms(self) -> int:
        """By the clock of Redis, which numbers the entries."""
        seconds, microseconds = self._client.time()  # type: ignore[misc]  # typed for both kinds of client
        return int(seconds) * MS_PER_SECOND + int(microseconds) // MS_PER_SECOND
