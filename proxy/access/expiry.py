"""When a key ends, as people say it: `90d`, `12h`, or a day such as 2027-01-31."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from ollaproject.wire.durations import DurationError, parse_duration

if TYPE_CHECKING:
    from datetime import date

DAYS = re.compile(r"(\d{1,5})d")
ADVICE = "Write how long from now (90d, 12h) or a day (2027-01-31)."


def parse_span(text: str) -> timedelta:
    """`90d`, `36h`, `30m`. Raises ValueError with a sentence that says how to write one."""
    if days := DAYS.fullmatch(text.strip()):
        return timedelta(days=int(days[1]))
    try:
        return timedelta(seconds=parse_duration(text))
    except DurationError as error:
        raise ValueError(str(error)) from None


def parse_expiry(text: str, *, now: datetime) -> datetime:
    """The moment that `text` means; a day means its end, in UTC. Raises ValueError, also for what is past."""
    found = _moment(text.strip(), now)
    if found is None:
        raise ValueError(f"{text!r} is no time. {ADVICE}")
    if found <= now:
        raise ValueError(f"{text!r} is past already. {ADVICE}")
    return found


def _moment(text: str, now: datetime) -> datetime | None:
    try:
        return now + parse_span(text)
    except (ValueError, OverflowError):
        pass
    try:
        if moment := parse_datetime(text) if len(text) > len("2027-01-31") else None:
            return (
                moment
                if timezone.is_aware(moment)
                else moment.replace(tzinfo=timezone.get_default_timezone())
            )
        day = parse_date(text)
    except ValueError:
        return None
    return _end_of(day) if day else None


def _end_of(day: date) -> datetime:
    midnight = datetime(day.year, day.month, day.day, tzinfo=timezone.get_default_timezone())
    return midnight + timedelta(days=1)
