"""Keeping processes running: start, restart with back-off, stop in order, leave no orphan.

Children run in sessions of their own, so that Ctrl-C in a terminal reaches the supervisor alone and it
decides who stops when. A child that dies takes nobody along.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ollaproject.parent import PARENT_PID_VARIABLE

if TYPE_CHECKING:
    import socket

logger = logging.getLogger(__name__)

FIRST_RESTART_DELAY_SECONDS = 0.5
MAX_RESTART_DELAY_SECONDS = 30.0
STEADY_SECONDS = 30.0
STOP_SECONDS = 10.0
# make, `timeout` and some service managers signal a group and the processes in it: one signal, come twice.
ONE_SIGNAL_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Program:
    """What to run. `stop_order`: lower numbers are stopped first, equal ones together."""

    name: str
    command: tuple[str, ...]
    stop_order: int
    environment: dict[str, str] = field(default_factory=dict)
    inherited_fds: tuple[int, ...] = ()


class Child:
    """One program, kept running until it is told to stop."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._restart_delay = FIRST_RESTART_DELAY_SECONDS

    async def keep_running(self) -> None:
        while not self._stopping.is_set():
            started = time.monotonic()
            self.process = await self._start()
            code = await self.process.wait()
            if self._stopping.is_set():
                return
            if time.monotonic() - started > STEADY_SECONDS:
                self._restart_delay = FIRST_RESTART_DELAY_SECONDS
            logger.error(
                "%s %s; it is started again in %.1f s.", self.program.name, _ending(code), self._restart_delay
            )
            await asyncio.sleep(self._restart_delay)
            self._restart_delay = min(self._restart_delay * 2, MAX_RESTART_DELAY_SECONDS)

    async def _start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self.program.command,
            env={
                **os.environ,
                **self.program.environment,
                "OLLA_PROCESS": self.program.name,
                PARENT_PID_VARIABLE: str(os.getpid()),
            },
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=self.program.inherited_fds,
            start_new_session=True,
        )

    def leave(self) -> None:
        """Start it no more when it ends."""
        self._stopping.set()

    async def stop(self) -> None:
        """SIGTERM, a while to finish, then SIGKILL for the whole session."""
        self.leave()
        if self.process is None or self.process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            await asyncio.wait_for(self.process.wait(), STOP_SECONDS)
        except TimeoutError:
            logger.warning("%s did not stop within %.0f s and is killed.", self.program.name, STOP_SECONDS)
            self.kill()
            await self.process.wait()

    def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            # When all of a session have just ended, macOS says that they may not be signalled.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)


class Supervisor:
    """Runs all programs until a signal comes, then stops them in order.

    A second signal kills what is still there. `listener`, which programs inherit, is closed at the first one:
    when they have closed it too, who comes is refused, and does not wait for the last of them to end.
    """

    def __init__(self, programs: list[Program], *, listener: socket.socket | None = None) -> None:
        self._listener = listener
        self._children = [Child(program) for program in programs]
        self._stop_requested = asyncio.Event()
        self._told_at = 0.0

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal)
        keepers = [asyncio.create_task(child.keep_running()) for child in self._children]
        await self._stop_requested.wait()
        if self._listener is not None:
            self._listener.close()
        for child in self._children:
            child.leave()
        for order in sorted({child.program.stop_order for child in self._children}):
            group = [child for child in self._children if child.program.stop_order == order]
            await asyncio.gather(*(child.stop() for child in group))
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)

    def _on_signal(self) -> None:
        if not self._stop_requested.is_set():
            self._told_at = time.monotonic()
            self._stop_requested.set()
        elif time.monotonic() - self._told_at > ONE_SIGNAL_SECONDS:
            logger.warning("Told to stop again: killing what still runs.")
            for child in self._children:
                child.kill()


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    return f"was killed by {signal.Signals(-code).name}"
