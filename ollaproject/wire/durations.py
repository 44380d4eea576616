"""Durations as operators write them, `5s`, `500ms`, `1m30s`, `2h`, to seconds and back (Olla's notation)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

SECONDS_OF_UNIT = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
MICROSECONDS = 1_000_000
MAX_TEXT_LENGTH = 40
PART = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(us|µs|ms|s|m|h)", re.ASCII)
WHOLE = re.compile(rf"(?:{PART.pattern})+", re.ASCII)
ADVICE = "Write a number and a unit, such as 500ms, 5s, 1m30s or 2h."


class DurationError(ValueError):
    """A duration that does not parse. The message is a sentence that says how to write one."""


def parse_duration(text: str) -> float:
    """Seconds, exact to the microsecond. Raises DurationError with a sentence that says how to write one."""
    word = text.strip()
    if word == "0":
        return 0.0
    if len(word) > MAX_TEXT_LENGTH or not WHOLE.fullmatch(word):
        raise DurationError(f"{word[:MAX_TEXT_LENGTH]!r} is not a duration. {ADVICE}")
    seconds = sum(float(number) * SECONDS_OF_UNIT[unit] for number, unit in PART.findall(word))
    return round(seconds, 6)


def parse_until(text: str, *, now: datetime) -> datetime:
    """A moment to come, as people write it: `2h` from now on, or `2026-12-01T08:00` (UTC without a zone).

    Raises DurationError.
    """
    try:
        return now + timedelta(seconds=parse_duration(text))
    except DurationError:
        pass
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise DurationError(
            f"{text[:MAX_TEXT_LENGTH]!r} is neither a time nor a duration. "
            "Write 2h, or 2026-12-01T08:00 (UTC)."
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment <= now:
        raise DurationError(f"{text[:MAX_TEXT_LENGTH]} is over already.")
    return moment


def format_duration(seconds: float) -> str:
    """The text that `parse_duration` reads as the same number of seconds: `1m30s` for 90, `500ms` for 0.5."""
    return "".join(f"{number}{unit}" for number, unit in parts_of(seconds))


def parts_of(seconds: float) -> list[tuple[str, str]]:
    """Numbers and their units, exact to the microsecond: 90 are `1` `m` and `30` `s`."""
    total = round(seconds * MICROSECONDS)
    if total < 0:
        raise ValueError("A duration cannot be negative.")
    if total < MICROSECONDS:
        return [(_plain(total / 1000), "ms")] if total else [("0", "s")]
    whole, micro = divmod(total, MICROSECONDS)
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [(str(hours), "h"), (str(minutes), "m"), (_plain(rest + micro / MICROSECONDS), "s")]
    return [(number, unit) for number, unit in parts if number != "0"]


def _plain(number: float) -> str:
    return f"{number:.6f}".rstrip("0").rstrip(".")
