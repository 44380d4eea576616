"""What came of each request: an Outcome, and counters since the process started.

An attempt at an endpoint counts once. A 5xx or a broken answer is that endpoint's failure; a client that
leaves is neither its success nor its failure.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from proxy.records.counts import EndpointCounts, add
from proxy.records.meter import Meter
from proxy.records.request_log import RequestLog

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from endpoints.health.doubts import Doubts
    from proxy.access.key_table import Holder
    from proxy.answer.capture import Bodies
    from proxy.answer.usage import Tokens
    from proxy.call import Call
    from proxy.limits.meters import Full
    from proxy.records.counts import Counts
    from proxy.records.ledger import Ledger
    from proxy.records.shared_counts import Guest
    from proxy.records.tracing import AttemptTrace
    from proxy.routing.admission import Slot

FIRST_FAILED_STATUS = 500
MAX_GUESTS = 200  # of those under way, how many are told of
MAX_MODEL_LENGTH = 300


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One endpoint that was tried. `reason` is None when it answered, else why the next one was.

    Seconds: `waited` is for a place there, `lasted` until its answer began or it failed.
    """

    endpoint: str
    reason: str | None
    waited: float = 0.0
    lasted: float = 0.0


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """A request that is over. Times are in seconds; `ttft` is from its arrival to an answer's first byte.

    `charged` is how many tokens it counts for the limits of its `holder`. `overhead` is what passed between
    its arrival and its first attempt, without its time in the queue. `full` is the limit that refused it,
    `bodies` what is kept of it, for a key that keeps something. A struct is made in a fifth of the time
    that a frozen dataclass of so many fields takes.
    """

    ended_at: datetime
    request_id: str
    method: str
    route: str
    caller: str
    model: str | None
    endpoint: str | None
    attempts: tuple[Attempt, ...]
    status: int
    stream: bool
    ttft: float | None
    duration: float
    bytes_in: int
    bytes_out: int
    error_code: str | None
    client_left: bool
    tokens: Tokens | None
    served_model: str | None = None
    routing: tuple[str, str, str] | None = None
    holder: Holder | None = None
    charged: int = 0
    overhead: float | None = None
    full: Full | None = None
    bodies: Bodies | None = None


@dataclass(slots=True)
class Tally(EndpointCounts):
    """The counts of one endpoint, as this process goes on counting; and what is under way."""

    in_flight: int = 0

    def since(self, before: Tally) -> EndpointCounts:
        """What came to it since it was as `before`. The extremes are those of all its time."""
        return EndpointCounts(
            requests=self.requests - before.requests,
            successes=self.successes - before.successes,
            failures=self.failures - before.failures,
            bytes_out=self.bytes_out - before.bytes_out,
            answered=self.answered - before.answered,
            latency_sum=self.latency_sum - before.latency_sum,
            latency_min=self.latency_min,
            latency_max=self.latency_max,
        )

    def time(self, seconds: float) -> None:
        self.answered += 1
        self.latency_sum += seconds
        self.latency_min = min(self.latency_min, seconds)
        self.latency_max = max(self.latency_max, seconds)


class Running:
    """An attempt under way. It ends once, in one of three ways; later calls change nothing."""

    __slots__ = ("_doubts", "_ended", "_others", "_slot", "_started_at", "_tally", "call", "trace")

    def __init__(self, tally: Tally, slot: Slot, doubts: Doubts, call: Call, others: set[Running]) -> None:
        self._tally = tally
        self._ended = False
        self._slot = slot
        self._doubts = doubts
        self.call = call
        self._others = others
        others.add(self)
        self._started_at = time.perf_counter()
        self.trace: AttemptTrace | None = None  # when traces are wanted
        doubts.began(slot.target.id)
        tally.requests += 1
        tally.in_flight += 1

    def guest(self) -> Guest:
        holder = self.call.holder
        return {
            "endpoint": self._slot.target.id,
            "key": holder.name if holder else "",
            "user": holder.user if holder else "",
            "model": (self.call.model or "")[:MAX_MODEL_LENGTH],
            "since": round(time.time() - (time.perf_counter() - self._started_at), 1),
        }

    def answered(self) -> None:
        """The endpoint's answer is there: its head for a stream, all of it for a plain one."""
        seconds = time.perf_counter() - self._started_at
        self._tally.time(seconds)
        self._slot.answered_after(seconds)

    def began(self) -> None:
        """The first piece of a stream is there. Its head says little: some servers send it at once."""
        self._slot.began()

    def succeeded(self, bytes_out: int) -> None:
        if self._end(bytes_out):
            self._tally.successes += 1
            self._doubts.succeeded(self._slot.target.id)

    def failed(self, bytes_out: int = 0, *, reason: str, broken: bool) -> None:
        """`broken`: no whole answer came. Otherwise one came that says that the endpoint has failed."""
        if not self._ended:
            # Before the slot is free: nobody in the queue is to take it.
            self._doubts.failed(self._slot.target.id, reason, broken=broken)
        if self._end(bytes_out, reason):
            self._tally.failures += 1

    def abandoned(self, bytes_out: int = 0) -> None:
        """The client has left."""
        if self._end(bytes_out):
            self._doubts.abandoned(self._slot.target.id)

    def _end(self, bytes_out: int, reason: str | None = None) -> bool:
        """Whether it ends only now."""
        if self._ended:
            return False
        self._ended = True
        self._tally.in_flight -= 1
        self._tally.bytes_out += bytes_out
        self._others.discard(self)
        self._slot.leave(time.perf_counter() - self._started_at)
        if self.trace is not None:
            self.trace.ended(reason)
        return True


class Records:
    """The counters of one process. What requests say of an endpoint goes on to `doubts`."""

    def __init__(self, doubts: Doubts, ledger: Ledger | None = None) -> None:
        self._doubts = doubts
        self._ledger = ledger
        self._log = RequestLog()
        self._meter = Meter()
        self._by_endpoint: dict[int, Tally] = {}
        self._taken: dict[int, Tally] = {}
        self._running: set[Running] = set()
        self.changed: Callable[[], None] = _nobody_asks

    def of(self, endpoint_id: int) -> Tally:
        """The counters of an endpoint, all zero when it has had no request."""
        return self._by_endpoint.get(endpoint_id) or Tally()

    def attempt(self, slot: Slot, call: Call) -> Running:
        self.changed()
        if slot.waited:
            self._meter.waited(slot.waited, slot.position)
        number = slot.target.id
        tally = self._by_endpoint.get(number)
        if tally is None:
            tally = self._by_endpoint[number] = Tally()
        return Running(tally, slot, self._doubts, call, self._running)

    def take(self) -> Counts:
        """What was counted since the last time."""
        taken = self._meter.take()
        for number, tally in self._by_endpoint.items():
            before = self._taken.get(number)
            if tally == before:
                continue
            newly = tally.since(before or Tally())
            self._taken[number] = replace(tally)
            taken.endpoints[str(number)] = newly
            add(taken.attempts, newly)
        return taken

    def in_flight(self) -> dict[str, int]:
        """How many attempts are under way, by endpoint."""
        return {
            str(number): tally.in_flight for number, tally in self._by_endpoint.items() if tally.in_flight
        }

    def guests(self) -> list[Guest]:
        """Whose requests are under way, at which endpoint."""
        return [running.guest() for running in islice(self._running, MAX_GUESTS)]

    def close(self, outcome: Outcome) -> None:
        """Take note of a request that is over."""
        self.changed()
        self._meter.close(outcome)
        if self._ledger is not None:
            self._ledger.add(outcome)
        self._log.add(outcome)


def _nobody_asks() -> None:
    """What happens when something was counted, unless a gateway says so."""
