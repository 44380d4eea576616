"""Lets no endpoint have more requests than it takes at once. When all candidates are full, requests wait.

The queue is bounded in length and in time, and fair: callers take turns, whatever each of them has lined up,
and when it is full it is the caller with most in line who loses the last one. A higher priority goes first,
but for every eighth place, which goes by turns alone: nobody waits for ever. Whoever leaves is gone at once.
While nothing is full, a request passes without a lock, a task or a wait. For one event loop.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import TYPE_CHECKING

from endpoints.routing.snapshot import snapshot
from ollaproject.wire.openai_errors import ApiError
from proxy import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from endpoints.routing.selection import Candidate
    from endpoints.routing.snapshot import Snapshot, Target
    from proxy.routing.plan import Plan

# How often those who wait look whether the routing table has changed.
RENEW_SECONDS = 0.25
LONGEST_RETRY_AFTER_SECONDS = 60
PLACES_BY_PRIORITY = 8  # of so many, the last one goes to whoever's turn it is


class Slot:
    """The right to one request at an endpoint. Whoever has it calls `leave`, once."""

    __slots__ = ("_admission", "_unread", "candidate", "position", "waited")

    def __init__(
        self, admission: Admission, candidate: Candidate, *, waited: float = 0.0, position: int = 0
    ) -> None:
        self._admission = admission
        self.candidate = candidate
        self.waited = waited  # seconds in the queue
        self.position = position  # how many waited when it came, itself among them; 0: it did not wait
        self._unread = 0
        candidate.load.in_flight += 1

    @property
    def target(self) -> Target:
        return self.candidate.target

    def reads(self, prompt_bytes: int) -> None:
        """So much of the prompt must be read at the endpoint, until `began`."""
        self._unread = prompt_bytes
        self.candidate.load.unread += prompt_bytes

    def began(self) -> None:
        """The endpoint writes: it has read the prompt."""
        self.candidate.load.unread -= self._unread
        self._unread = 0

    def answered_after(self, seconds: float) -> None:
        self.candidate.load.answered_after(seconds)

    def leave(self, seconds: float | None = None) -> None:
        """`seconds` is how long it was used, None when it was not."""
        if seconds is not None:
            self.candidate.load.ended_after(seconds)
        self.began()
        self.candidate.load.in_flight -= 1
        self._admission.freed(self.candidate)


@dataclass(slots=True, eq=False)
class Waiter:
    """A request in the queue."""

    plan: Plan
    caller: str
    priority: int
    future: asyncio.Future[Slot]
    since: float = field(default_factory=time.perf_counter)
    position: int = 0

    @property
    def has_left(self) -> bool:
        """Its client has gone, or its time is over, and it stands in line until its task has heard of it."""
        return self.future.done()


class Admission:
    """The queue of one process. `max_wait` is in seconds; 0 lets nobody wait."""

    def __init__(self, *, max_waiting: int, max_wait: float) -> None:
        self.max_waiting = max_waiting
        self._max_wait = max_wait
        # By caller, the one who was served longest ago first.
        self._lines: OrderedDict[str, deque[Waiter]] = OrderedDict()
        self._seen: Snapshot | None = None
        self._given = 0
        self.waiting = 0

    async def enter(self, plan: Plan, caller: str, priority: int = 0) -> Slot | None:
        """A slot at the best candidate that was not tried, None when all were. Higher priority goes first.

        A plan that does not wait gets one at a full endpoint too. Raises ApiError: 503 overloaded, and what
        `Plan.renew` raises when the candidates vanish meanwhile.
        """
        if plan.exhausted:
            return None
        candidate = plan.choose()
        if candidate is None and not plan.waits:
            candidate = next(plan.candidates())
        slot = Slot(self, candidate) if candidate is not None else await self._wait(plan, caller, priority)
        slot.reads(plan.tried(slot.candidate))
        return slot

    def freed(self, candidate: Candidate) -> None:
        """An endpoint can take one more: the next in line that it can serve goes on, before anyone new."""
        if not self.waiting:
            return
        for caller, line in self._order():
            for waiter in line:
                own = None if waiter.has_left else waiter.plan.own(candidate)
                if own is not None and own.has_room:
                    self._admit(waiter, own)
                    if caller in self._lines:
                        self._lines.move_to_end(caller)
                    return

    def _order(self) -> list[tuple[str, deque[Waiter]]]:
        """The lines, the one that a free place is offered to first."""
        lines = list(self._lines.items())
        if (self._given + 1) % PLACES_BY_PRIORITY:
            lines.sort(key=lambda item: -item[1][0].priority)  # else as they are: by turns
        return lines

    async def _wait(self, plan: Plan, caller: str, priority: int) -> Slot:
        waiter = Waiter(plan, caller, priority, asyncio.get_running_loop().create_future())
        self._line_up(waiter)
        try:
            async with asyncio.timeout(self._max_wait):
                return await waiter.future
        except BaseException as error:
            self._gone(waiter)
            if isinstance(error, TimeoutError):
                raise self._overloaded(plan) from None
            raise

    def _line_up(self, waiter: Waiter) -> None:
        if not self._max_wait:
            raise self._overloaded(waiter.plan)
        if self.waiting >= self.max_waiting:
            self._drop_who_has_left()
        if self.waiting >= self.max_waiting:
            self._make_place(waiter)
        self._lines.setdefault(waiter.caller, deque()).append(waiter)
        self.waiting += 1
        waiter.position = self.waiting
        if self.waiting == 1:
            self._seen = snapshot()
            asyncio.get_running_loop().call_later(RENEW_SECONDS, self._renew)

    def _drop_who_has_left(self) -> None:
        for waiter in list(self._in_turns()):
            if waiter.has_left:
                self._remove(waiter)

    def _make_place(self, newcomer: Waiter) -> None:
        """Of those with the lowest priority, the caller with the longest line gives up its last place.

        The newcomer is refused when that would be itself.
        """
        lines = self._lines.values()
        longest = max(lines, key=lambda line: (-line[0].priority, len(line)), default=deque[Waiter]())
        lower = bool(longest) and longest[0].priority < newcomer.priority
        same = bool(longest) and longest[0].priority == newcomer.priority
        if not lower and not (same and len(longest) > len(self._lines.get(newcomer.caller, ())) + 1):
            raise self._overloaded(newcomer.plan)
        last = longest[-1]
        self._remove(last)
        last.future.set_exception(self._overloaded(last.plan))

    def _admit(self, waiter: Waiter, candidate: Candidate) -> None:
        self._remove(waiter)
        self._given += 1
        waited = time.perf_counter() - waiter.since
        waiter.future.set_result(Slot(self, candidate, waited=waited, position=waiter.position))

    def _gone(self, waiter: Waiter) -> None:
        """It waits no longer. A slot that it was given in the same moment goes to the next."""
        future = waiter.future
        if self._remove(waiter) or future.cancelled() or not future.done() or future.exception():
            return
        future.result().leave()

    def _remove(self, waiter: Waiter) -> bool:
        line = self._lines.get(waiter.caller)
        if line is None or waiter not in line:
            return False
        line.remove(waiter)
        self.waiting -= 1
        if not line:
            del self._lines[waiter.caller]
        return True

    def _renew(self) -> None:
        """When the routing table has changed, everyone in line looks at the new one."""
        if not self.waiting:
            return
        asyncio.get_running_loop().call_later(RENEW_SECONDS, self._renew)
        if snapshot() is self._seen:
            return
        self._seen = snapshot()
        self._drop_who_has_left()
        for waiter in list(self._in_turns()):
            try:
                waiter.plan.renew()
                candidate = waiter.plan.choose()
            except ApiError as refusal:
                self._remove(waiter)
                waiter.future.set_exception(refusal)
                continue
            if candidate is not None:
                self._admit(waiter, candidate)

    def _in_turns(self) -> Iterator[Waiter]:
        ranks = zip_longest(*(line for _, line in self._order()))
        return (waiter for waiter in chain.from_iterable(ranks) if waiter is not None)

    def _overloaded(self, plan: Plan) -> ApiError:
        ahead = sum(waiter.plan.question == plan.question for waiter in self._in_turns())
        loads = [each.load for each in plan.candidates()]
        # How many requests of this kind come to their end in a second, as things go now.
        rate = sum(load.in_flight / load.held for load in loads if load.held)
        seconds = (ahead + 1) / rate if rate else self._max_wait
        return errors.overloaded(
            plan.question.model, min(max(1, math.ceil(seconds)), LONGEST_RETRY_AFTER_SECONDS)
        )
