"""The supervisor's side of a fetch: a process, and a thread that reads what it says."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from django.conf import settings

from ollaproject.parent import PARENT_PID_VARIABLE

if TYPE_CHECKING:
    from pathlib import Path

    from inference.local.fetch_words import Failed, Fetched, Job

RATE_SECONDS = 5.0
"""The speed is that of the last seconds."""


@dataclass(frozen=True, slots=True)
class Point:
    """How far it was at some moment."""

    state: str = "downloading"
    done: int = 0
    total: int = 0
    bytes_per_second: float = 0.0


class FetchJob:
    """`outcome` is None while it runs."""

    def __init__(self, job: Job, log: Path) -> None:
        self.point = Point()
        self.outcome: Fetched | Failed | None = None
        self._seen: list[tuple[float, int]] = []
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "inference.local.fetch"],
                cwd=settings.BASE_DIR,
                env={**os.environ, PARENT_PID_VARIABLE: str(os.getpid())},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read, args=(json.dumps(asdict(job)),), daemon=True)
        self._reader.start()

    def cancel(self) -> None:
        """End it. What has come stays, and the next one goes on from there."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGTERM)

    def _read(self, job: str) -> None:
        process = self._process
        said: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError), process:
            if process.stdin is not None and process.stdout is not None:
                process.stdin.write(job)
                process.stdin.close()
                for line in process.stdout:
                    said = json.loads(line)
                    if "state" in said:
                        self._note(said)
        code = process.wait()
        if "folders" in said or "failed" in said:
            self.outcome = said  # type: ignore[assignment]  # the two are told apart by their keys
        else:
            self.outcome = {"failed": f"The download ended without a word (exit code {code}).", "again": 1.0}

    def _note(self, said: dict[str, Any]) -> None:
        now = time.monotonic()
        if said["state"] != self.point.state:
            self._seen.clear()
        self._seen = [(at, done) for at, done in self._seen if now - at < RATE_SECONDS]
        self._seen.append((now, said["done"]))
        (began, first), (ended, last) = self._seen[0], self._seen[-1]
        rate = (last - first) / (ended - began) if ended > began else 0.0
        self.point = Point(said["state"], said["done"], said["total"], max(rate, 0.0))
