"""How many files a server process may have open at once. A connection is one, so a stream takes two."""

from __future__ import annotations

import contextlib
import resource

WANTED = 10_240  # the most that every macOS grants a process that asks
LEAST_WORTH_ASKING = 512


def allow_many() -> None:
    """Raise the soft limit as far as it goes: macOS starts programs with 256. Never fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    while wanted > max(soft, LEAST_WORTH_ASKING):
        with contextlib.suppress(OSError, ValueError):  # the kernel's own limit may be below the hard one
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return
        wanted //= 2
