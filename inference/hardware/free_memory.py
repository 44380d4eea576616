"""How much memory this process can still have: of its machine, of its container, and of its own limit.

No MLX here: the supervisor and the pages ask, too. What Linux says of the machine is not the whole truth: a
container may have less, and whoever takes more of it is killed without a word.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY_INFO = Path("/proc/meminfo")
OWN_CGROUPS, OWN_PAGES = Path("/proc/self/cgroup"), Path("/proc/self/statm")
CGROUPS = Path("/sys/fs/cgroup")
V2 = ("memory.max", "memory.current", "inactive_file")
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
"""Files with the limit and what is used of it, and what in `memory.stat` the kernel gives back when asked."""


def available_memory() -> int:
    """Bytes that can be had without swapping."""
    return _within_limits(_available())


def loadable_memory() -> int:
    """The same, and what of the machine could be swapped for it."""
    return _within_limits(_available() + (_of_machine("SwapFree:") or 0))


def _within_limits(machine: int) -> int:
    limits = (left_in_container(), _left_of_own_limit())
    return min(machine, *(each for each in limits if each is not None))


def _available() -> int:
    return _of_machine("MemAvailable:") or int(psutil.virtual_memory().available)


def left_in_container() -> int | None:
    """Bytes that the cgroups of this process leave it; None where they set no limit. Of both versions."""
    return min(
        (left for folder, names in _cgroups() if (left := _left(folder, names)) is not None), default=None
    )


def _of_machine(name: str) -> int | None:
    try:
        lines = MEMORY_INFO.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), None)


def _left_of_own_limit() -> int | None:
    """Of `ulimit -v`, which counts addresses: Linux alone keeps to it."""
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most == resource.RLIM_INFINITY or not sys.platform.startswith("linux"):
        return None
    pages = int(OWN_PAGES.read_text().split()[0])
    return max(most - pages * resource.getpagesize(), 0)


def _cgroups() -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """The folders of this process and of all that they are in: each of them may have a limit.

    A container often sees its own folder as the uppermost one, whatever its path is called outside.
    """
    try:
        lines = OWN_CGROUPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root, names = (CGROUPS / "memory", V1) if controllers else (CGROUPS, V2)
        folder = root / path.lstrip("/")
        yield root, names
        while folder != root and folder.is_relative_to(root):
            yield folder, names
            folder = folder.parent


def _left(folder: Path, names: tuple[str, str, str]) -> int | None:
    limit, used, reclaimable = names
    try:
        most, now = (int((folder / name).read_text()) for name in (limit, used))
        lines = (folder / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):  # it has none, or the limit is the word `max`
        return None
    given_back = next((int(line.split()[1]) for line in lines if line.split()[0] == reclaimable), 0)
    return max(most - now + given_back, 0)
