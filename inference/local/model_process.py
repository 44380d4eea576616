"""A model's server process: started, or found again by a supervisor that was started anew."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
from django.conf import settings

from inference.local import run
from inference.local.held import held_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from inference.local.run import RunFile

ENDED_SOMEHOW = -1
"""The exit code of a process that was somebody else's child."""


@dataclass(frozen=True, slots=True)
class Launch:
    """`log` is where it writes what it has to say; an older one is kept beside it."""

    command: tuple[str, ...]
    environment: dict[str, str]
    log: Path


class ModelProcess:
    """`began` is when it started, in Unix time."""

    def __init__(
        self, process: psutil.Process, began: float, child: subprocess.Popen[bytes] | None = None
    ) -> None:
        self.pid = process.pid
        self.began = began
        self._process = process
        self._child = child

    @classmethod
    def start(cls, launch: Launch) -> ModelProcess:
        launch.log.parent.mkdir(parents=True, exist_ok=True)
        if launch.log.exists():
            launch.log.replace(launch.log.with_suffix(".previous.log"))
        with launch.log.open("ab") as log:
            child = subprocess.Popen(  # noqa: S603
                launch.command,
                cwd=settings.BASE_DIR,
                env={**os.environ, **launch.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process = psutil.Process(child.pid)
        return cls(process, process.create_time(), child)

    @classmethod
    def adopt(cls, found: RunFile) -> ModelProcess | None:
        """The process that the file speaks of, None when it runs no more."""
        process = run.process_of(found)
        return None if process is None else cls(process, found.began)

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative when a signal ended it, or when nobody can know."""
        if self._child is not None:
            return self._child.poll()
        return None if run.goes_on(self._process) else ENDED_SOMEHOW

    @property
    def memory_bytes(self) -> int | None:
        """Of it and what it has started."""
        with contextlib.suppress(psutil.Error):
            return sum(map(held_bytes, (self._process, *self._process.children(recursive=True))))
        return None

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """It and whatever it has started."""
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
