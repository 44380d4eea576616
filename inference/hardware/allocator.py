"""Keeps memory that MLX frees within the process, for a Linux CPU.

MLX asks malloc for every array there, and gives it back when it is done. From some size on glibc gives memory
back to the kernel each time, and the kernel fills every page with zeros before it gives it again: half of the
time of attention over a few thousand tokens, on an AMD EPYC. Threads have heaps of their own, too, which hold
no more than 64 MB.
"""

from __future__ import annotations

import ctypes
import logging

logger = logging.getLogger(__name__)

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Of glibc's <malloc.h>."""
KEPT_BYTES = 256 * 1024**2
"""So much that is free at the end of the heap stays there: more than a pass of a model needs and frees."""
APART_BYTES = 64 * 1024**2
"""Larger arrays have mappings of their own, which leave no holes."""


def keep_freed_memory() -> None:
    """Tell malloc so. To be called before there are other threads. Other C libraries are left as they are."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        logger.debug("This C library has no mallopt.")
        return
    mallopt(M_ARENA_MAX, 1)
    mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
    mallopt(M_MMAP_THRESHOLD, APART_BYTES)
