"""Feels the pulse of one model's server: a thread asks its /health, and remembers what was said last."""

from __future__ import annotations

import http.client
import json
import threading
import time
from dataclasses import dataclass
from typing import Any

ASK_SECONDS = 0.25
ASK_SECONDS_WHEN_READY = 1.0
ANSWER_SECONDS = 2.0
# A process that says nothing, or that it is unwell, for so long will not recover.
HUNG_SECONDS = 20.0
# Python and its libraries take a while on a busy machine before there is a socket.
BEGIN_SECONDS = 120.0
OK, UNAUTHORIZED = 200, 401
HEALTHY, LOADING = "healthy", "loading"


@dataclass(frozen=True, slots=True)
class Beat:
    """`status` is healthy, loading or unhealthy; empty when there was no answer."""

    status: str = ""
    reason: str = ""
    idle_seconds: float = 0.0


class Pulse:
    """Of a server on this machine's `port`. `hung` says when it is beyond help."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._over = threading.Event()
        self._last_good = time.monotonic()
        self._has_answered = False
        self.beat = Beat()
        self._thread = threading.Thread(target=self._run, name=f"pulse-{port}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()

    @property
    def hung(self) -> bool:
        allowed = HUNG_SECONDS if self._has_answered else BEGIN_SECONDS
        return time.monotonic() - self._last_good > allowed

    def _run(self) -> None:
        while not self._over.is_set():
            beat = self.ask()
            if beat.status:
                self._has_answered = True
            if beat.status in (HEALTHY, LOADING):
                self._last_good = time.monotonic()
            self.beat = beat
            self._over.wait(ASK_SECONDS_WHEN_READY if beat.status == HEALTHY else ASK_SECONDS)

    def ask(self) -> Beat:
        try:
            status, body = _get(self._address, "/health", {})
            said = json.loads(body)
            word = HEALTHY if status == OK else str(said.get("status") or "unhealthy")
            return Beat(word, str(said.get("reason") or ""), float(said.get("idle_seconds") or 0))
        except (OSError, http.client.HTTPException, ValueError, AttributeError):
            return Beat()


def opens_with(host: str, port: int, key: str) -> bool:
    """Whether the server there takes `key`: then it is the one that was started with it."""
    try:
        return _get((host, port), "/v1/models", {"Authorization": f"Bearer {key}"})[0] != UNAUTHORIZED
    except (OSError, http.client.HTTPException):
        return False


def _get(address: tuple[str, int], path: str, headers: dict[str, str]) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(*address, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", path, headers=headers)
        response: Any = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
