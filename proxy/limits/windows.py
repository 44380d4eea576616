"""What was used within the last minute, and within this day and month: the counting behind limits.

A window counts by whole seconds and lets go of a second when all of it is a minute old: in no minute is more
used than a limit says, and what is told of the time until there is room is true.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

WINDOW_SECONDS = 60
# A second's amount may have come at its end.
KEPT_SECONDS = WINDOW_SECONDS + 1
SECONDS_PER_DAY = 24 * 3600


class Window:
    """A sliding minute. `now` is in seconds and does not go back."""

    __slots__ = ("_seconds", "_total")

    def __init__(self) -> None:
        # Pairs of a second and what was used in it, the oldest first.
        self._seconds: deque[list[int]] = deque()
        self._total = 0

    def used(self, now: float) -> int:
        while self._seconds and self._seconds[0][0] <= now - KEPT_SECONDS:
            self._total -= self._seconds.popleft()[1]
        return self._total

    def add(self, now: float, amount: int) -> None:
        self.correct(int(now), amount)

    def correct(self, second: int, amount: int) -> None:
        """Add to what was used in a second, or take from it. One that is out of the window stays out."""
        if not self._seconds or self._seconds[-1][0] < second:
            self._seconds.append([second, 0])
        for each in reversed(self._seconds):
            if each[0] == second:
                each[1] += amount
                self._total += amount
                return

    def wait(self, now: float, amount: int) -> float:
        """Seconds until at least `amount` of what was used has left the window."""
        for second, used in self._seconds:
            amount -= used
            if amount <= 0:
                return second + KEPT_SECONDS - now
        return 0.0

    def reset(self, now: float) -> float:
        """Seconds until nothing is left in the window."""
        return self._seconds[-1][0] + KEPT_SECONDS - now if self.used(now) else 0.0


class Spent(NamedTuple):
    """Tokens of a day, which is counted from 1970 on, and of its month until then."""

    day: int
    of_day: int
    of_month: int


class Budget:
    """Tokens of the day and of the month (UTC) that it is. `at` is in Unix time."""

    __slots__ = ("_day", "_month", "_of_day", "_of_month", "seeded")

    def __init__(self) -> None:
        self._day = self._month = self._of_day = self._of_month = 0
        self.seeded = False

    def used(self, at: float) -> tuple[int, int]:
        """Of the day, and of the month."""
        day, month = int(at) // SECONDS_PER_DAY, month_of(int(at) // SECONDS_PER_DAY)
        if day != self._day:
            self._day, self._of_day = day, 0
        if month != self._month:
            self._month, self._of_month = month, 0
        return self._of_day, self._of_month

    def add(self, at: float, amount: int) -> None:
        self.used(at)
        self._of_day += amount
        self._of_month += amount

    def seed(self, at: float, spent: Spent | None) -> None:
        """Begin with what was counted before this process."""
        self.seeded = True
        self.used(at)
        if spent is None:
            return
        if spent.day == self._day:
            self._of_day = max(self._of_day, spent.of_day)
        if month_of(spent.day) == self._month:
            self._of_month = max(self._of_month, spent.of_month)


@lru_cache(maxsize=8)
def month_of(day: int) -> int:
    """The month of a day that is counted from 1970 on, as a number that grows: 202701."""
    date = datetime.fromtimestamp(day * SECONDS_PER_DAY, UTC)
    return date.year * 100 + date.month


def until_tomorrow(at: float) -> float:
    return SECONDS_PER_DAY - at % SECONDS_PER_DAY


def until_next_month(at: float) -> float:
    date = datetime.fromtimestamp(at, UTC)
    year, month = divmod(date.year * 12 + date.month, 12)
    return datetime(year, month + 1, 1, tzinfo=UTC).timestamp() - at
