"""Waits for a server that has failed: it may go on with what nobody reads any more, which would slow the next
one that is measured.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from bench.inference.servers import Server

MOST_SECONDS = 60.0
LOOK_SECONDS = 1.0
IDLE_SHARE = 0.1
"""A process that uses less of one CPU than this has nothing left to compute."""


def wait_until_quiet(server: Server, label: str, *, most_seconds: float = MOST_SECONDS) -> None:
    """Wait until `server` uses hardly any CPU, within bounds, and print it. Others' processes are unknown."""
    if server.pid is None:
        return
    began = time.monotonic()
    is_quiet = becomes_quiet(server.pid, most_seconds=most_seconds)
    what = "was quiet again" if is_quiet else "still computes; the next figures may be worse for it"
    print(f"{label}  waited {time.monotonic() - began:.0f} s: {server.name} {what}", flush=True)


def becomes_quiet(pid: int, *, most_seconds: float) -> bool:
    """Wait until a process and those that it has started use hardly any CPU, or are gone. Whether they do."""
    deadline = time.monotonic() + most_seconds
    used, looked_at = _cpu_seconds(pid), time.monotonic()
    while time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
        before, used = used, _cpu_seconds(pid)
        looked_before, looked_at = looked_at, time.monotonic()
        if used - before < IDLE_SHARE * (looked_at - looked_before):
            return True
    return False


def _cpu_seconds(pid: int) -> float:
    """What the process and its living descendants have used so far; 0 when it is gone."""
    seconds = 0.0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                times = each.cpu_times()
                seconds += times.user + times.system
    return seconds
