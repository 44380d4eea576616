"""`/internal/process`: Python's figures of this web process, under Olla's names where they fit."""

from __future__ import annotations

import asyncio
import gc
import os
import platform
import resource
import sys
import threading
import time
from typing import Any

import psutil

from ollaproject.wire import clock
from proxy.status import figures
from proxy.status.status import stamp

MANY_TASKS, ELEVATED_TASKS, CONCERNING_TASKS = 100, 500, 1000
HIGH_SHARE, MEDIUM_SHARE = 0.2, 0.1
_this_process = psutil.Process()
_started_at = clock.now()
_started = time.monotonic()
_gc = {"seconds": 0.0, "begun": 0.0, "last_at": 0.0, "cycles": 0.0}


def _note_collection(phase: str, _info: dict[str, Any]) -> None:
    if phase == "start":
        _gc["begun"] = time.perf_counter()
        return
    _gc["seconds"] += time.perf_counter() - _gc["begun"]
    _gc["cycles"] += 1
    _gc["last_at"] = time.time()


gc.callbacks.append(_note_collection)


def describe() -> dict[str, Any]:
    """In the event loop's thread, whose tasks are counted."""
    now = clock.now()
    return {
        "timestamp": stamp(now),
        "pid": os.getpid(),
        "memory": _memory(),
        "garbage_collection": _collections(),
        "threads": {
            "count": threading.active_count(),
            "names": sorted(each.name for each in threading.enumerate()),
        },
        "tasks": _tasks(),
        "runtime": {
            "uptime": figures.span(now, _started_at),
            "python_version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "num_cpu": os.cpu_count(),
            "cpu_seconds": round(time.process_time(), 2),
            "platform": f"{sys.platform}-{platform.machine()}",
        },
        "allocations": {"objects": len(gc.get_objects()), "blocks": sys.getallocatedblocks()},
    }


def _memory() -> dict[str, Any]:
    # The unit of the highest mark: bytes on macOS, kilobytes elsewhere.
    scale = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
    resident = _this_process.memory_info().rss
    share = resident / (os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    pressure = "HIGH" if share > HIGH_SHARE else "MEDIUM" if share > MEDIUM_SHARE else "LOW"
    return {
        "heap_inuse": figures.size(resident),
        "heap_sys": figures.size(peak),
        "resident_bytes": resident,
        "peak_bytes": peak,
        "memory_pressure": pressure,
    }


def _collections() -> dict[str, Any]:
    cycles, seconds = int(_gc["cycles"]), _gc["seconds"]
    return {
        "num_gc_cycles": cycles,
        "total_gc_time": f"{seconds * 1000:.1f}ms",
        "avg_gc_pause": f"{seconds * 1000 / cycles:.2f}ms" if cycles else "0ms",
        "gc_cpu_fraction": round(seconds / max(time.monotonic() - _started, 1e-9), 6),
        "last_gc": round(_gc["last_at"], 3) or None,
        "generations": [each["collections"] for each in gc.get_stats()],
        "enabled": gc.isenabled(),
    }


def _tasks() -> dict[str, Any]:
    """What Olla calls goroutines."""
    count = len(asyncio.all_tasks())
    words = (
        ("CONCERNING", CONCERNING_TASKS),
        ("ELEVATED", ELEVATED_TASKS),
        ("NORMAL", MANY_TASKS),
    )
    return {"count": count, "health_status": next((word for word, most in words if count > most), "HEALTHY")}
