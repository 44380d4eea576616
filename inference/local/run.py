"""What a model process and its supervisor know of each other, on their machine, without a database.

The process writes a file that says who it is, before anything else: however the supervisor dies, the next one
finds every process there is. And it watches the lock that a supervisor holds: when it is nobody's child any
more and no other supervisor comes, it ends. The kernel drops the lock with its holder.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

logger = logging.getLogger(__name__)

FILE_VARIABLE = "OLLA_RUN_FILE"
LOCK_VARIABLE = "OLLA_SUPERVISOR_LOCK"
POLL_SECONDS = 0.5
# How long a process lives without a supervisor: one that was killed is back well before.
ALONE_SECONDS = 15.0
# Two readings of the same process's start differ by rounding only.
SAME_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class RunFile:
    """`began` is when the process started (Unix time): ids are used again, the pair is not."""

    pid: int
    began: float


def announce() -> None:
    """In the model process: write the file that the environment names, if any."""
    name = os.environ.get(FILE_VARIABLE)
    if not name:
        return
    path = Path(name)
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps(asdict(RunFile(os.getpid(), psutil.Process().create_time()))))
    draft.rename(path)


def end_with_supervisor() -> bool:
    """In the model process: end when no supervisor is there any more. False when none is named."""
    name = os.environ.get(LOCK_VARIABLE)
    if not name:
        return False
    threading.Thread(
        target=_watch, args=(Path(name), os.getppid()), name="supervisor-watch", daemon=True
    ).start()
    return True


def read(path: Path) -> RunFile | None:
    """What the file says, None when it is gone or half written."""
    try:
        return RunFile(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def process_of(found: RunFile) -> psutil.Process | None:
    """That very process, if it still runs."""
    try:
        process = psutil.Process(found.pid)
        same = abs(process.create_time() - found.began) < SAME_SECONDS
    except psutil.Error:
        return None
    return process if same and goes_on(process) else None


def goes_on(process: psutil.Process) -> bool:
    """Whether it still runs. A zombie does not. The time of its start is not asked for again: that is another
    one when the clock has been set, as after a Mac's sleep.
    """
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def is_held(lock: Path) -> bool:
    """Whether some process holds the lock exclusively."""
    try:
        with lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _watch(lock: Path, parent: int) -> None:
    alone_since: float | None = None
    while alone_since is None or time.monotonic() - alone_since < ALONE_SECONDS:
        time.sleep(POLL_SECONDS)
        if os.getppid() == parent or is_held(lock):
            alone_since = None
        elif alone_since is None:
            alone_since = time.monotonic()
    logger.warning("No supervisor has come back for %.0f s: stopping.", ALONE_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
