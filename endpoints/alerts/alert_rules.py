"""When an alert goes out, and what it says. Pure.

What happens within a few seconds goes out together. In quiet hours everything waits for their end, and is
then one message. What could not be delivered is tried again, ever more seldom, and at last given up.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from endpoints.alerts.alert_models import AlertKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import time
    from zoneinfo import ZoneInfo

RETRY_AFTER_SECONDS: Final = (10, 30, 120, 600, 1800)
LONGEST_RETRY_AFTER_SECONDS: Final = 3600
LINES_SHOWN: Final = 25
# How a headline counts what happened, and in which order.
COUNTED: Final = {
    AlertKind.DOWN: "down",
    AlertKind.FLAPPING: "flapping",
    AlertKind.BUDGET: "over budget",
    AlertKind.BACK: "back",
    AlertKind.TEST: "test",
}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to `subject`, with the sentence that says so.

    `path` is that of the gateway's page that says more.
    """

    at: datetime
    kind: AlertKind
    subject: str
    text: str
    path: str = ""


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From one time of day until another, over midnight if that is earlier."""

    start: time
    end: time
    zone: ZoneInfo

    def end_of(self, moment: datetime) -> datetime | None:
        """When the quiet hours end in which `moment` lies; None when it lies in none."""
        local = moment.astimezone(self.zone)
        now = local.time().replace(tzinfo=None)
        over_midnight = self.start > self.end
        if over_midnight:
            if not (now >= self.start or now < self.end):
                return None
        elif not self.start <= now < self.end:
            return None
        day = local.date() + timedelta(days=1) if over_midnight and now >= self.start else local.date()
        return datetime.combine(day, self.end, self.zone).astimezone(moment.tzinfo)


def due_at(event: Event, *, group_seconds: float, quiet: QuietHours | None) -> datetime:
    """When it goes out. A test waits for nothing."""
    if event.kind == AlertKind.TEST:
        return event.at
    grouped = event.at + timedelta(seconds=group_seconds)
    ends = quiet.end_of(grouped) if quiet else None
    return ends or grouped


def retry_in(attempts: int, *, asked: float | None) -> float | None:
    """Seconds until the next attempt after so many failed ones, None to give up.

    `asked` is the Retry-After of the other side, in seconds.
    """
    if attempts > len(RETRY_AFTER_SECONDS):
        return None
    return max(RETRY_AFTER_SECONDS[attempts - 1], min(asked or 0.0, LONGEST_RETRY_AFTER_SECONDS))


def headline(events: Sequence[Event]) -> str:
    """One line, which may stand in a header: what happened, or how much of what."""
    if len(events) == 1:
        text = "".join(one if one.isprintable() else " " for one in events[0].text)
        return " ".join(text.split())
    counts = {kind: sum(event.kind == kind for event in events) for kind in COUNTED}
    return ", ".join(f"{count} {COUNTED[kind]}" for kind, count in counts.items() if count)


def lines(events: Sequence[Event], zone: ZoneInfo) -> list[str]:
    """What happened in the order of time, each with its time of day."""
    ordered = sorted(events, key=lambda event: event.at)
    found = [f"{event.at.astimezone(zone):%H:%M:%S} {event.text}" for event in ordered[:LINES_SHOWN]]
    left = len(ordered) - LINES_SHOWN
    return [*found, f"and {left} more"] if left > 0 else found


def path_of(events: Sequence[Event]) -> str:
    """Where to read more: at the page that all of them are about, else on the dashboard."""
    paths = {event.path for event in events}
    return paths.pop() if len(paths) == 1 and "" not in paths else "/"


def is_bad(events: Sequence[Event]) -> bool:
    """Whether somebody should look: more than good news and tests."""
    return any(event.kind not in {AlertKind.BACK, AlertKind.TEST} for event in events)
