"""A process that serve started must not outlive it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

# A parent that starts a child the way serve does, says the child's process id, and waits to be killed.
PARENT = """
import os, subprocess, sys
child = subprocess.Popen(
    [sys.executable, "-c", CHILD],
    env={**os.environ, "OLLA_PARENT_PID": str(os.getpid())},
    start_new_session=True,
)
child.wait()
"""
CHILD = """
import os, signal, sys, threading
from ollaproject.parent import end_with_parent
stopped = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stopped.set())
end_with_parent()
print(os.getpid(), flush=True)
while not stopped.wait(0.1): pass
print("stopped", flush=True)
"""


def test_a_child_ends_when_its_parent_is_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", f"CHILD = {CHILD!r}\n{PARENT}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        text=True,
    )
    assert parent.stdout is not None
    with parent.stdout:
        assert parent.stdout.readline().strip().isdigit()

        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()

        # The pipe reaches its end only when the child is gone too.
        assert parent.stdout.read() == "stopped\n"
