"""Numbers of bytes, as people type and read them."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError

UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
PREFIXES = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}


def bytes_of(text: str) -> int:
    """`1048576`, `100MiB`, `1 GB` (both mean powers of 1024). Raises ValueError."""
    match = re.fullmatch(r"(\d+)\s*([KMG]?)I?B?", text.strip().upper())
    if not match:
        raise ValueError(f"{text!r} is no size such as 100MiB")
    return int(match[1]) * PREFIXES[match[2]]


def byte_count(text: str) -> int:
    """The same for argparse."""
    try:
        return bytes_of(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def size(count: float) -> str:
    """`5.1 GB`, `93 MB`, `12 kB`: of files and of memory, by powers of 1000."""
    for unit, factor in UNITS:
        if count >= factor:
            number = count / factor
            return f"{number:.1f} {unit}" if unit == "GB" else f"{number:.0f} {unit}"
    return f"{count:.0f} B"
