"""Moves the weights into large pages of memory, for a Linux CPU.

Imports mlx: loaded by the model process only. A step of the model fetches every weight once. The processor
has to know of each page where it lies, and remembers a few thousand: with 4 KiB in each, far fewer than the
weights fill. With 2 MB in each hardly a lookup is left, and most kernels give such pages to those who ask.
MLX does not ask before it fills its arrays, so they are moved once they lie where they stay.

Quantised weights are left alone: there a step computes for so long that no difference could be measured, and
neither could it with embedding models.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from mmap import PAGESIZE
from pathlib import Path
from time import monotonic
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten

logger = logging.getLogger(__name__)

KERNEL_SETTINGS = Path("/sys/kernel/mm/transparent_hugepage")
MARK, MOVE = 14, 25
"""MADV_HUGEPAGE and MADV_COLLAPSE of <sys/mman.h>. Kernels before 6.1 refuse the second; what is marked they
move bit by bit themselves."""
WIDEST_GAP = PAGESIZE
"""Between neighbours: what malloc puts before an array, and what is left of the last page of another one. A
wider gap may hold a page that does not exist."""
BYTES_AT_ONCE = 64 * 1024**2
"""Between two such pieces the clock is read. With smaller ones the kernel would talk to all processors more
often than needed."""
MOST_SECONDS = 10.0
"""A GB takes two to four tenths of a second, and two seconds where a virtual machine's host has yet to find
the memory for it. A start should not wait for longer; what is left is marked, and the kernel's to move."""


def use_large_pages(model: Any) -> None:
    """Move the float32 weights that `model` has by now; what they hold stays the same. Never fails: what the
    kernel refuses is told in the log."""
    if sys.platform != "linux":
        return
    try:
        _move(_spans(model, _large_page_bytes()))
    except Exception as error:  # noqa: BLE001 -- a slower model is better than none
        logger.info("The weights stay in small pages: %s: %s", type(error).__name__, error)


def _large_page_bytes() -> int:
    """Raises OSError where the kernel has none or its operator wants none: to move would disregard that."""
    if "[never]" in (KERNEL_SETTINGS / "enabled").read_text():
        raise OSError(f"{KERNEL_SETTINGS / 'enabled'} says never.")
    return int((KERNEL_SETTINGS / "hpage_pmd_size").read_text())


def _spans(model: Any, page_bytes: int) -> list[tuple[int, int]]:
    """Begins and ends of the large pages that weights fill, the longest span first."""
    arrays: Any = tree_flatten(model.parameters())
    usual = (array for _, array in arrays if array.dtype == mx.float32 and array.size)
    joined: list[tuple[int, int]] = []
    for begin, end in sorted(map(_bounds, usual)):
        if joined and begin <= joined[-1][1] + WIDEST_GAP:
            first, last = joined.pop()
            joined.append((first, max(last, end)))
        else:
            joined.append((begin, end))
    whole = [(-(-begin // page_bytes) * page_bytes, end // page_bytes * page_bytes) for begin, end in joined]
    return sorted((span for span in whole if span[0] < span[1]), key=lambda span: span[0] - span[1])


def _bounds(array: Any) -> tuple[int, int]:
    return np.lib.array_utils.byte_bounds(np.array(array, copy=False))


def _move(spans: list[tuple[int, int]]) -> None:
    """Raises OSError when the kernel refuses to mark them."""
    if not spans:
        return
    for begin, end in spans:
        _advise(begin, end, MARK)
    started = monotonic()
    moved, refusal = 0, ""
    for begin, end in _pieces(spans):
        if monotonic() - started > MOST_SECONDS:
            refusal = "there was no more time"
            break
        try:
            _advise(begin, end, MOVE)
        except OSError as error:
            refusal = str(error)
        else:
            moved += end - begin
    logger.info(
        "%d of %d MB of weights were moved into large pages in %.1f s%s.",
        moved / 1e6,
        sum(end - begin for begin, end in spans) / 1e6,
        monotonic() - started,
        f"; the kernel has the others to move ({refusal})" if refusal else "",
    )


def _pieces(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return [
        (begin, min(begin + BYTES_AT_ONCE, end))
        for first, end in spans
        for begin in range(first, end, BYTES_AT_ONCE)
    ]


def _advise(begin: int, end: int, advice: int) -> None:
    madvise = ctypes.CDLL(None, use_errno=True).madvise
    if madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), advice):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
