"""A process that `manage.py serve` started ends with it, also when serve is killed and cannot say goodbye.

serve puts its process id into OLLA_PARENT_PID. A thread watches whether that process is still the parent;
this works on every Unix, where Linux's PR_SET_PDEATHSIG would not on macOS.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time

logger = logging.getLogger(__name__)

PARENT_PID_VARIABLE = "OLLA_PARENT_PID"
POLL_SECONDS = 0.5

_watching = threading.Event()


def end_with_parent() -> None:
    """Watch the parent that the environment names, if any. When it is gone this process gets a SIGTERM."""
    parent = os.environ.get(PARENT_PID_VARIABLE, "")
    if not parent.isdigit() or _watching.is_set():
        return
    _watching.set()
    threading.Thread(target=_watch, args=(int(parent),), name="parent-watch", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    logger.warning("The process that started this one (%s) is gone: stopping.", parent)
    os.kill(os.getpid(), signal.SIGTERM)
