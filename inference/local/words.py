"""A local model's state in words, the same in a terminal, on a page and in an API."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from django.utils.translation import gettext

from inference.local.choices import FETCHING, State
from ollaproject.wire.numbers import size
from ollaproject.wire.time_words import span

if TYPE_CHECKING:
    from inference.models import LocalModelStatus

MILLISECONDS = 1000
WHOLE = 100


def percent(status: LocalModelStatus) -> int | None:
    """How far it has come, None when nobody knows. One that takes longer than the last time waits at 99."""
    if not status.total:
        return None
    return min(WHOLE - 1 if status.state == State.LOADING else WHOLE, int(WHOLE * status.done / status.total))


def seconds_left(status: LocalModelStatus) -> float | None:
    left = status.total - status.done
    if status.state == State.LOADING:
        return left / MILLISECONDS if left > 0 else None
    if status.state == State.DOWNLOADING and status.bytes_per_second and left > 0:
        return left / status.bytes_per_second
    return None


def progress(status: LocalModelStatus) -> str:
    """`45 of 93 MB, 12 MB/s, 4 s left`; empty when there is nothing to say."""
    parts: list[str] = []
    if status.state in FETCHING and status.total:
        parts.append(gettext("{done} of {total}").format(done=size(status.done), total=size(status.total)))
        if status.bytes_per_second:
            parts.append(f"{size(status.bytes_per_second)}/s")
    left = seconds_left(status)
    if left is not None:
        parts.append(gettext("{time} left").format(time=span(math.ceil(left))))
    return ", ".join(parts)


def reason(status: LocalModelStatus) -> str:
    """Why it is as it is. Sentences with figures or names in them stay as they were written down."""
    return gettext(status.reason) if status.reason else ""
