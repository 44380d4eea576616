"""Counts what each key, team and address uses, in this process, and says when one of them has had enough."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from endpoints.routing.selection import smoothed
from proxy.limits.windows import Budget, Window, until_next_month, until_tomorrow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.limits.limits import Limits

REQUESTS, TOKENS, CONCURRENT, DAY, MONTH = "requests", "tokens", "concurrent", "day", "month"
# How long a place is held when none has been given back yet.
USUAL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Full:
    """A limit that leaves no room: which of them, whose, and in how many seconds there is room again."""

    kind: str
    subject: Subject
    seconds: float

    @property
    def allowed(self) -> str:
        """What the limit is: `requests per minute: 60`."""
        limits = self.subject.limits
        return {
            REQUESTS: f"requests per minute: {limits.requests_per_minute}",
            TOKENS: f"tokens per minute: {limits.tokens_per_minute}",
            CONCURRENT: f"requests at a time: {limits.concurrent}",
            DAY: f"tokens per day: {limits.tokens_per_day}",
            MONTH: f"tokens per month: {limits.tokens_per_month}",
        }[self.kind]

    @property
    def words(self) -> str:
        """Whose limit it is, and which: `The API key 'laptop', requests per minute: 60`."""
        return f"{self.subject.who}, {self.allowed}"


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose use is counted. `who` is the word for it in messages, `label` what people call it."""

    name: str
    who: str
    limits: Limits
    label: str = ""


@dataclass(frozen=True, slots=True)
class Room:
    """What is left of the limits of a minute. Seconds until all of it is there again."""

    requests: int | None
    requests_reset: float
    tokens: int | None
    tokens_reset: float

    @classmethod
    def of(cls, limits: Limits, requests: tuple[int, float], tokens: tuple[int, float]) -> Room:
        """From what is used of each, and the seconds until nothing is."""
        return cls(
            _left(limits.requests_per_minute, requests[0]),
            requests[1],
            _left(limits.tokens_per_minute, tokens[0]),
            tokens[1],
        )


class Meter:
    """What one subject uses. `asked` is how many tokens Redis is being asked for: it may say no."""

    __slots__ = ("asked", "budget", "held", "in_flight", "requests", "tokens")

    def __init__(self) -> None:
        self.requests = Window()
        self.tokens = Window()
        self.budget = Budget()
        self.in_flight = self.asked = 0
        self.held: float | None = None

    def full(self, subject: Subject, estimate: int, now: float) -> Full | None:
        """What speaks against one more request of so many tokens.

        A request that is larger than a limit of tokens goes when nothing else is in the window.
        """
        limits = subject.limits
        most = limits.concurrent
        if most is not None and self.in_flight >= most:
            return Full(CONCURRENT, subject, self.seconds_until_room(CONCURRENT))
        most = limits.requests_per_minute
        if most is not None and (over := self.requests.used(now) + 1 - most) > 0:
            return Full(REQUESTS, subject, self.requests.wait(now, over))
        most = limits.tokens_per_minute
        if most is not None and (over := self.tokens.used(now) + min(estimate, most) - most) > 0:
            return Full(TOKENS, subject, self.tokens.wait(now, over))
        return self._spent(subject, estimate)

    def _spent(self, subject: Subject, estimate: int) -> Full | None:
        day, month = subject.limits.tokens_per_day, subject.limits.tokens_per_month
        if day is None and month is None:
            return None
        at = time.time()
        of_day, of_month = self.budget.used(at)
        if day is not None and of_day + min(estimate, day) > day:
            return Full(DAY, subject, self.seconds_until_room(DAY))
        if month is not None and of_month + min(estimate, month) > month:
            return Full(MONTH, subject, self.seconds_until_room(MONTH))
        return None

    def seconds_until_room(self, kind: str, said: float = 0.0) -> float:
        """For a limit that is reached. `said` is what a window says of itself."""
        if kind == DAY:
            return until_tomorrow(time.time())
        if kind == MONTH:
            return until_next_month(time.time())
        if kind == CONCURRENT:
            return (self.held or USUAL_SECONDS) / max(1, self.in_flight)
        return said

    def enter(self, estimate: int, now: float) -> None:
        self.in_flight += 1
        self.requests.add(now, 1)
        self.tokens.add(now, estimate)
        self.budget.add(time.time(), estimate)

    def leave(self, second: int, difference: int, seconds: float) -> None:
        """A request that came in `second` is over: it took `difference` tokens more than was thought."""
        self.in_flight -= 1
        self.held = smoothed(self.held, seconds)
        self.tokens.correct(second, difference)
        self.budget.add(time.time(), difference)

    def undo(self, second: int, estimate: int) -> None:
        """It did not come in after all."""
        self.in_flight -= 1
        self.requests.correct(second, -1)
        self.tokens.correct(second, -estimate)
        self.budget.add(time.time(), -estimate)

    def spent_for_certain(self) -> tuple[int, int]:
        """Of the budgets of day and month, without what Redis may still refuse."""
        of_day, of_month = self.budget.used(time.time())
        return max(0, of_day - self.asked), max(0, of_month - self.asked)

    def room(self, limits: Limits, now: float) -> Room:
        windows = (self.requests, self.tokens)
        requests, tokens = ((window.used(now), window.reset(now)) for window in windows)
        return Room.of(limits, requests, tokens)

    @property
    def idle(self) -> bool:
        return not self.in_flight and not self.requests.used(time.monotonic())


def _left(limit: int | None, used: int) -> int | None:
    return None if limit is None else max(0, limit - used)


def scarcest(rooms: Sequence[tuple[Subject, Room]], kind: str) -> tuple[int, int, float] | None:
    """Of the subjects that have this limit, the one with the least left: limit, what is left, reset."""
    found: list[tuple[int, int, float]] = []
    for subject, room in rooms:
        if kind == REQUESTS and subject.limits.requests_per_minute is not None:
            found.append((subject.limits.requests_per_minute, room.requests or 0, room.requests_reset))
        elif kind == TOKENS and subject.limits.tokens_per_minute is not None:
            found.append((subject.limits.tokens_per_minute, room.tokens or 0, room.tokens_reset))
    return min(found, key=lambda each: each[1]) if found else None
