"""Figures as people read them in the status JSON. Olla's formats, so that its scripts and dashboards work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ollaproject.wire.durations import format_duration

if TYPE_CHECKING:
    from datetime import datetime

KIBI = 1024
BYTE_UNITS = ("KB", "MB", "GB", "TB", "PB")
MS_PER_SECOND = 1000


def percent(share: float | None) -> str:
    """`99.6%`, `100%`, `N/A` when nothing was counted. Only what is whole is 0% or 100%."""
    if share is None:
        return "N/A"
    if share in (0, 1):
        return f"{share:.0%}"
    return f"{min(max(share * 100, 0.1), 99.9):.1f}%"


def latency(seconds: float | None) -> str:
    """`85ms`, `1.2s` from a second on, `0ms` when there is none."""
    if not seconds:
        return "0ms"
    whole = milliseconds(seconds) or 0
    return f"{whole}ms" if whole < MS_PER_SECOND else f"{seconds:.1f}s"


def milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * MS_PER_SECOND)


def size(count: int) -> str:
    """`512 B`, `3.21 KB`, `1.2 GB`, in powers of 1024."""
    if count < KIBI:
        return f"{count} B"
    number = float(count)
    for unit in BYTE_UNITS:
        number /= KIBI
        if number < KIBI or unit == BYTE_UNITS[-1]:
            break
    return f"{number:.2f}".rstrip("0").rstrip(".") + f" {unit}"


def ago(then: datetime | None, now: datetime) -> str:
    """`16s ago`, `never`."""
    return "never" if then is None else f"{span(now, then)} ago"


def until(then: datetime | None, now: datetime) -> str:
    """`in 3s`, `now` when it is due, `unknown`."""
    if then is None:
        return "unknown"
    return "now" if then <= now else f"in {span(then, now)}"


def span(later: datetime, earlier: datetime) -> str:
    """`47s`, `1h2m3s`: whole seconds."""
    return format_duration(max(0, int((later - earlier).total_seconds())))
