"""How much memory a process holds.

macOS counts in two ways. What is resident, as everywhere, leaves out what was compressed and most of what a
GPU works with. The footprint is all that the kernel charges a process with, Metal's buffers included: what
Activity Monitor shows, and what is free again when the process ends.
"""

from __future__ import annotations

import ctypes
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

RUSAGE_INFO_V0 = 0


class RusageInfo(ctypes.Structure):
    """rusage_info_v0 of macOS' <sys/resource.h>."""

    _fields_ = (
        ("uuid", ctypes.c_uint8 * 16),
        ("user_time", ctypes.c_uint64),
        ("system_time", ctypes.c_uint64),
        ("package_idle_wakeups", ctypes.c_uint64),
        ("interrupt_wakeups", ctypes.c_uint64),
        ("page_ins", ctypes.c_uint64),
        ("wired_size", ctypes.c_uint64),
        ("resident_size", ctypes.c_uint64),
        ("footprint", ctypes.c_uint64),
        ("start_time", ctypes.c_uint64),
        ("exit_time", ctypes.c_uint64),
    )


def held_bytes(process: psutil.Process) -> int:
    """Raises psutil.Error when it is gone, or somebody else's."""
    resident = int(process.memory_info().rss)
    return (_footprint(process.pid) or resident) if sys.platform == "darwin" else resident


def _footprint(pid: int) -> int:
    """0 where the system does not tell."""
    info = RusageInfo()
    try:
        failed = ctypes.CDLL(None).proc_pid_rusage(pid, RUSAGE_INFO_V0, ctypes.byref(info))
    except AttributeError:
        return 0
    return 0 if failed else int(info.footprint)
