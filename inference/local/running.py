"""One running server of a model: its process and its pulse together, from the start to the end."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inference.local import run
from inference.local.lifecycle import Process
from inference.local.model_process import ENDED_SOMEHOW, ModelProcess
from inference.local.pulse import HEALTHY, Pulse, opens_with

if TYPE_CHECKING:
    from pathlib import Path

    from inference.local.model_process import Launch

STOP_SECONDS = 6.0


@dataclass(frozen=True, slots=True)
class Ending:
    """How it ended. `asked`: because it was told to; `hung`: it was killed for not answering."""

    code: int
    asked: bool
    hung: bool

    @property
    def words(self) -> str:
        if self.hung:
            return "It did not answer any more and was killed"
        if self.code >= 0:
            return f"It ended with exit code {self.code}"
        if self.code == ENDED_SOMEHOW:
            return "It ended unexpectedly"
        return f"It was killed by {signal.Signals(-self.code).name}"


class Running:
    """`here` and `port` are where it listens, as this machine reaches it."""

    def __init__(self, process: ModelProcess, here: str, port: int) -> None:
        self.process = process
        self._pulse = Pulse(here, port)
        self._kill_at: float | None = None

    @classmethod
    def start(cls, launch: Launch, here: str, port: int) -> Running:
        return cls(ModelProcess.start(launch), here, port)

    @classmethod
    def adopt(cls, run_file: Path, here: str, port: int | None, key: str) -> Running | None:
        """The process that the file speaks of, if it runs and opens with `key`. Another one is killed."""
        found = run.read(run_file)
        process = None if found is None else ModelProcess.adopt(found)
        if process is None:
            return None
        if port and key and opens_with(here, port, key):
            return cls(process, here, port)
        process.kill()
        return None

    @property
    def now(self) -> Process:
        if self.is_stopping:
            return Process.STOPPING
        if self._pulse.hung:
            return Process.HUNG
        return Process.HEALTHY if self._pulse.beat.status == HEALTHY else Process.LOADING

    @property
    def is_stopping(self) -> bool:
        return self._kill_at is not None

    @property
    def idle_seconds(self) -> float:
        return self._pulse.beat.idle_seconds

    def stop(self) -> None:
        if self._kill_at is None:
            self._kill_at = time.monotonic() + STOP_SECONDS
            self.process.terminate()

    def kill(self) -> None:
        self.process.kill()

    def ending(self) -> Ending | None:
        """None while it runs. Kills what takes too long to stop."""
        code = self.process.exit_code
        if code is None:
            if self._kill_at is not None and time.monotonic() > self._kill_at:
                self.process.kill()
            return None
        self._pulse.stop()
        return Ending(code, asked=self.is_stopping, hung=self._pulse.hung)
