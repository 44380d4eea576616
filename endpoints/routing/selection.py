"""What a strategy chooses from: the candidates of a tier, and what each of them is doing.

A tier is a set of endpoints of one priority, so a strategy never sees a lower one.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from endpoints.routing.snapshot import ServedModel, Target

    # The prompt of a request as prefix keys, shortest first (see `warmth`). Asked for when needed.
    Prefix = Callable[[], Sequence[int]]

# A choice looks at no more endpoints than this, so that a thousand cost what a hundred cost.
WINDOW = 64
# For hashing: words of 64 bits, and an odd number without pattern.
WORD = 2**64 - 1
ODD = 0xD6E8FEB86659FD93
# How much the newest time counts in a smoothed one.
NEWEST_SHARE = 0.25


@dataclass(slots=True)
class Load:
    """What one endpoint is doing for this process. The times are smoothed, None before the first.

    `unread` is how many bytes of prompts its requests wait to have read, as far as a strategy can tell.
    `to_answer` is how many seconds pass until an answer begins, `held` how many until it has ended.
    """

    in_flight: int = 0
    unread: int = 0
    to_answer: float | None = None
    held: float | None = None

    def answered_after(self, seconds: float) -> None:
        self.to_answer = smoothed(self.to_answer, seconds)

    def ended_after(self, seconds: float) -> None:
        self.held = smoothed(self.held, seconds)


def smoothed(before: float | None, newest: float) -> float:
    return newest if before is None else before + NEWEST_SHARE * (newest - before)


class Loads:
    """The load of every endpoint, which outlives the routing tables."""

    def __init__(self) -> None:
        self._by_id: dict[int, Load] = {}

    def of(self, endpoint_id: int) -> Load:
        found = self._by_id.get(endpoint_id)
        if found is None:
            found = self._by_id[endpoint_id] = Load()
        return found


@dataclass(slots=True, eq=False)
class Candidate:
    """An endpoint that may answer. Its `point` on the ring depends on nobody else's.

    `model` is what it is asked for in place of an alias, None for what the client said. `served` is what is
    known of the model, None when none was named.
    """

    target: Target
    load: Load
    model: str | None = None
    served: ServedModel | None = None
    point: int = field(init=False)
    # Whether it gets its full share, so that nothing has to be weighed.
    even: bool = field(init=False)

    def __post_init__(self) -> None:
        self.point = mixed(self.target.id)
        self.even = self.target.traffic in {0.0, 1.0}  # one that is asleep serves in full when it wakes

    @property
    def busyness(self) -> float:
        """Its requests under way; more, when it is to get less than its full share of them."""
        in_flight = self.load.in_flight
        return in_flight if self.even else (in_flight + 1) / (self.target.traffic or 1.0) - 1

    @property
    def has_room(self) -> bool:
        return self.load.in_flight < self.target.max_concurrent


class Tier:
    """The candidates of one priority for one model, and whose turn it is among them."""

    __slots__ = ("_points", "_shares", "_turn", "by_id", "candidates", "even", "ring")

    def __init__(self, candidates: Iterable[Candidate], turn: int = 0) -> None:
        self.candidates = tuple(candidates)
        self.by_id = {each.target.id: each for each in self.candidates}
        self.ring = tuple(sorted(self.candidates, key=lambda each: each.point))
        self._points = [each.point for each in self.ring]
        self.even = all(each.even for each in self.candidates)
        self._shares = self._weights() if self.even else []
        self._turn = turn - 1

    def next_turn(self) -> int:
        self._turn += 1
        return self._turn

    def by_weight(self, fraction: float) -> int:
        """The position of the candidate whose share of the weights lies at `fraction` (0 to 1)."""
        shares = self._shares or self._weights()
        return bisect_right(shares, fraction * shares[-1])

    def _weights(self) -> list[float]:
        return list(accumulate(each.target.weight * (each.target.traffic or 1.0) for each in self.candidates))

    def takes(self, position: int, rounds: int) -> bool:
        """Whether a candidate takes its turn in this round: one with a third of its share, in every third."""
        traffic = self.candidates[position].target.traffic or 1.0
        return int((rounds + 1) * traffic) > int(rounds * traffic)

    def window(self, start: int) -> tuple[Candidate, ...]:
        """So many candidates from a position on, as one choice looks at."""
        return _slice(self.candidates, start)

    def neighbours(self, key: int) -> tuple[Candidate, ...]:
        """The window for a key on the ring: it changes little when an endpoint comes or goes."""
        return _slice(self.ring, bisect_right(self._points, mixed(key)))

    def first_with_room(self, start: int) -> Candidate | None:
        """The first from a position on that can take one more request."""
        for each in self.candidates[start:]:
            if each.has_room:
                return each
        return next((each for each in self.candidates[:start] if each.has_room), None)


def _slice(candidates: tuple[Candidate, ...], start: int) -> tuple[Candidate, ...]:
    start %= len(candidates)
    if start == 0 and len(candidates) <= WINDOW:
        return candidates
    ahead = candidates[start : start + WINDOW]
    return ahead + candidates[: min(start, WINDOW - len(ahead))]


def mixed(number: int) -> int:
    """A word in which every bit depends on every bit of `number`: the same in every process."""
    number = (number ^ number >> 32) * ODD & WORD
    number = (number ^ number >> 29) * ODD & WORD
    return number ^ number >> 32


class Strategy(Protocol):
    """Chooses within a tier."""

    def choose(self, tier: Tier, prefix: Prefix) -> Candidate | None:
        """One with room for the request, None when every one is full."""

    def placed(self, candidate: Candidate, prefix: Prefix) -> int:
        """Take note that a request goes there. Returns how many bytes of its prompt must be read first."""


class Blind:
    """For strategies that do not look at prompts."""

    def placed(self, candidate: Candidate, prefix: Prefix) -> int:  # noqa: ARG002
        return 0


def least_busy(candidates: Iterable[Candidate]) -> Candidate | None:
    """The first of those with the fewest requests under way, None when none has room."""
    best: Candidate | None = None
    least = 0.0
    for each in candidates:
        in_flight = each.load.in_flight
        if in_flight >= each.target.max_concurrent:
            continue
        busyness = in_flight if each.even else each.busyness
        if best is None or busyness < least:
            if busyness == 0:
                return each
            best, least = each, busyness
    return best
