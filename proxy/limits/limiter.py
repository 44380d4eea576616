"""Lets a request pass as far as its key, its team or its address still may, and settles it when it is over.

What this process has counted speaks first, without a wait. Only then, and only for callers with limits, Redis
is asked what all processes have counted. Callers without limits never come here.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from ollaproject.wire.durations import format_duration
from ollaproject.wire.peers import network_of
from proxy import errors
from proxy.access.key_table import keys
from proxy.limits.limits import Limits
from proxy.limits.meters import CONCURRENT, DAY, MONTH, REQUESTS, TOKENS, Full, Meter, Room, Subject, scarcest

if TYPE_CHECKING:
    from ollaproject.wire.openai_errors import ApiError
    from proxy.access.auth import Caller
    from proxy.limits.shared_limits import Answer, SharedLimits, Ticket
    from proxy.request.estimate import Estimate
    from proxy.request.headers import Pair

# Of addresses, anyone may have any number: from so many on, those that rest are let go.
MANY_METERS = 20_000
# What limits.lua tells by its number, from 1 on.
KINDS_OF_SCRIPT = (CONCURRENT, REQUESTS, TOKENS, DAY, MONTH)


class Permit:
    """A request that was let in. Whoever has it calls `close`, once."""

    __slots__ = ("_limiter", "_second", "_shared_second", "_since", "_ticket", "guess", "pairs", "subjects")

    def __init__(self, limiter: Limiter, subjects: tuple[Subject, ...], guess: Estimate, now: float) -> None:
        self.subjects = subjects
        self.guess = guess
        self.pairs: list[Pair] = []
        self._limiter = limiter
        self._since = now
        self._second = int(now)
        self._ticket: Ticket | None = None
        self._shared_second = 0

    def shared(self, ticket: Ticket, second: int) -> None:
        """It is counted in Redis too."""
        self._ticket, self._shared_second = ticket, second

    def close(self, tokens: int) -> None:
        """It is over and took so many tokens."""
        difference = tokens - self.guess.total
        seconds = time.monotonic() - self._since
        # What was thought too much is taken back where it was counted; what was too little comes on top now.
        later = int(seconds) if difference > 0 else 0
        for subject in self.subjects:
            self._limiter.meter(subject).leave(self._second + later, difference, seconds)
        if self._ticket is not None and self._limiter.shared is not None:
            self._limiter.shared.leave(self._ticket, self._shared_second + later, difference)

    def undo(self) -> None:
        """It is not let in after all."""
        for subject in self.subjects:
            self._limiter.meter(subject).undo(self._second, self.guess.total)


class Limiter:
    """The limits of one process. `per_address`, `for_all`: requests per minute without a key, 0: no limit."""

    def __init__(self, *, per_address: int = 0, for_all: int = 0, shared: SharedLimits | None = None) -> None:
        self.shared = shared
        self._meters: dict[str, Meter] = {}
        self._swept_at = MANY_METERS
        self._per_address = Limits(requests_per_minute=per_address or None)
        self._everyone = Subject(
            "everyone", "All callers without a key", Limits(requests_per_minute=for_all or None)
        )
        self._limits_addresses = bool(per_address or for_all)

    def concerns(self, caller: Caller) -> bool:
        """Whether there is any limit for this caller."""
        return caller.holder.limited if caller.holder is not None else self._limits_addresses

    async def enter(self, caller: Caller, guess: Estimate) -> Permit:
        """Count a request of a caller whom limits concern. Raises ApiError 429."""
        subjects = caller.holder.subjects if caller.holder is not None else self._of_address(caller.address)
        now = time.monotonic()
        for subject in subjects:
            if full := self.meter(subject).full(subject, guess.total, now):
                raise self._refusal(full, subjects, now)
        for subject in subjects:
            self.meter(subject).enter(guess.total, now)
        permit = Permit(self, subjects, guess, now)
        rooms = None
        if self.shared is not None and self.shared.up:
            rooms = await self._enter_shared(self.shared, permit, now)
        permit.pairs = _pairs(rooms or self._rooms(subjects, now))
        return permit

    def meter(self, subject: Subject) -> Meter:
        meter = self._meters.get(subject.name)
        if meter is None:
            if len(self._meters) >= self._swept_at:
                self._meters = {name: each for name, each in self._meters.items() if not each.idle}
                # While few of them rest, to look at all again for each newcomer would hold up everybody.
                self._swept_at = max(MANY_METERS, 2 * len(self._meters))
            meter = self._meters[subject.name] = Meter()
        if not meter.budget.seeded and subject.limits.has_budget:
            meter.budget.seed(time.time(), keys().spent.get(subject.name))
        return meter

    @property
    def counted_by(self) -> str:
        """`redis` for all processes together; `process` for each by itself, also while Redis is away."""
        return "redis" if self.shared is not None and self.shared.up else "process"

    @property
    def blocked_addresses(self) -> int:
        """How many addresses would be refused now."""
        most = self._per_address.requests_per_minute
        if most is None:
            return 0
        now = time.monotonic()
        return sum(
            meter.requests.used(now) >= most
            for name, meter in self._meters.items()
            if name.startswith("address ")
        )

    def _of_address(self, address: str) -> tuple[Subject, ...]:
        found = [self._everyone] if self._everyone.limits else []
        if self._per_address:
            found.append(
                Subject(f"address {network_of(address)}", f"The address {address}", self._per_address)
            )
        return tuple(found)

    async def _enter_shared(
        self, shared: SharedLimits, permit: Permit, now: float
    ) -> list[tuple[Subject, Room]] | None:
        subjects, tokens = permit.subjects, permit.guess.total
        meters = [self.meter(each) for each in subjects]
        ticket = shared.ticket(subjects)
        for meter in meters:
            meter.asked += tokens
        try:
            answer = await shared.enter(ticket, tokens, [meter.spent_for_certain() for meter in meters])
        except BaseException:
            permit.undo()
            raise
        finally:
            for meter in meters:
                meter.asked -= tokens
        if answer is None:
            return None
        if answer[0]:
            permit.undo()
            raise self._refusal(_full(answer, self.meter(subjects[answer[0] - 1]), subjects), subjects, now)
        permit.shared(ticket, answer[1])
        return _rooms_of(answer, subjects)

    def _rooms(self, subjects: tuple[Subject, ...], now: float) -> list[tuple[Subject, Room]]:
        return [(each, self.meter(each).room(each.limits, now)) for each in subjects]

    def _refusal(self, full: Full, subjects: tuple[Subject, ...], now: float) -> ApiError:
        refusal = errors.limit_reached(full, max(1, math.ceil(full.seconds)))
        pairs = _pairs(self._rooms(subjects, now))
        refusal.headers |= {name.decode(): value.decode() for name, value in pairs}
        return refusal


def _full(answer: Answer, meter: Meter, subjects: tuple[Subject, ...]) -> Full:
    """A refusal of the script. It does not know when places come back, nor when a day is over."""
    subject, kind = subjects[answer[0] - 1], KINDS_OF_SCRIPT[answer[1] - 1]
    return Full(kind, subject, meter.seconds_until_room(kind, answer[2] / 1000))


def _rooms_of(answer: Answer, subjects: tuple[Subject, ...]) -> list[tuple[Subject, Room]]:
    rooms = []
    for position, subject in enumerate(subjects):
        requests, requests_reset, tokens, tokens_reset = answer[2 + position * 4 : 6 + position * 4]
        rooms.append(
            (
                subject,
                Room.of(subject.limits, (requests, requests_reset / 1000), (tokens, tokens_reset / 1000)),
            )
        )
    return rooms


def _pairs(rooms: list[tuple[Subject, Room]]) -> list[Pair]:
    """OpenAI's headers, of whichever of the limits has the least left."""
    pairs: list[Pair] = []
    for kind in (REQUESTS, TOKENS):
        found = scarcest(rooms, kind)
        if found is None:
            continue
        limit, left, reset = found
        word = kind.encode()
        pairs += [
            (b"x-ratelimit-limit-" + word, b"%d" % limit),
            (b"x-ratelimit-remaining-" + word, b"%d" % left),
            (b"x-ratelimit-reset-" + word, format_duration(round(max(0.0, reset), 3)).encode()),
        ]
    return pairs
