"""How far a fetch has come: counted by whoever does the work, told by a thread twice a second."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Tell = Callable[[dict[str, int | str]], None]

TELL_SECONDS = 0.5
DOWNLOADING, VERIFYING = "downloading", "verifying"
"""As in choices.State, which needs Django."""


class Progress:
    """`tell` gets state, done and total, whenever one of them has moved."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._state, self._total = DOWNLOADING, 0
        self._done: Callable[[], int] = lambda: 0
        self._told: tuple[str, int, int] | None = None
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> Progress:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def begin(self, state: str, total: int, done: Callable[[], int]) -> None:
        """A new stretch of `total` bytes; `done` says how many there are, whenever it is asked."""
        with self._lock:
            self._state, self._total, self._done = state, total, done
        self._tell_if_new()

    def count(self, done: int, total: int) -> None:
        """For work that reports by itself."""
        with self._lock:
            self._total, self._done = total, lambda: done

    def _run(self) -> None:
        while not self._over.wait(TELL_SECONDS):
            self._tell_if_new()

    def _tell_if_new(self) -> None:
        with self._lock:
            now = (self._state, self._done(), self._total)
            if now == self._told:
                return
            self._told = now
        self._tell({"state": now[0], "done": now[1], "total": now[2]})
