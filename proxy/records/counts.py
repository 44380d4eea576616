"""The numbers that a gateway counts, in a form that adds up: of requests, of processes, of all before.

They cross between processes as JSON. A field that a later release adds is zero in what an earlier one wrote.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

# The buckets that OpenTelemetry's semantic conventions for generative AI recommend.
DURATION_BOUNDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
FIRST_TOKEN_BOUNDS = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
PER_TOKEN_BOUNDS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
TOKEN_BOUNDS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
OVERHEAD_BOUNDS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)
POSITION_BOUNDS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)
WAIT_BOUNDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

NEVER = 1e9  # seconds, above any latency
MAX_CALLERS = 1000
SPREAD_STEP = math.log(1.05)
FIRST_STEP, LAST_STEP = -400, 400  # 3 ns and 9 years
# Where one step ends and the next begins: to look that up takes a third of the time of a logarithm.
STEP_ENDS = tuple(math.exp((step + 0.5) * SPREAD_STEP) for step in range(FIRST_STEP, LAST_STEP))


def _earlier(one: float, other: float) -> float:
    """Of two moments; 0 is none."""
    return min(one, other) if one and other else one or other


@dataclass(slots=True)
class Histogram:
    """How many values fell into each bucket: up to the first bound, …, above the last."""

    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def observe(self, value: float, bounds: tuple[float, ...]) -> None:
        counts = self.counts
        if not counts:
            counts.extend([0] * (len(bounds) + 1))
        counts[bisect_left(bounds, value)] += 1
        self.total += value

    def __bool__(self) -> bool:
        return bool(self.counts)


@dataclass(slots=True)
class Spread:
    """Durations in steps of 5 %, from which percentiles are read. Keys are powers of 1.05, in seconds."""

    counts: dict[int, int] = field(default_factory=dict)

    def observe(self, seconds: float) -> None:
        step = FIRST_STEP + bisect_left(STEP_ENDS, seconds)
        self.counts[step] = self.counts.get(step, 0) + 1

    def quantile(self, share: float) -> float | None:
        """The value below which `share` of all lie, None while there are none."""
        wanted = share * sum(self.counts.values())
        seen = 0
        for step in sorted(self.counts):
            seen += self.counts[step]
            if seen >= wanted:
                return math.exp(step * SPREAD_STEP)
        return None


@dataclass(slots=True)
class OperationCounts:
    """One model's requests of one operation, such as chat. Answers by the class of their status, `2xx`."""

    answers: dict[str, int] = field(default_factory=dict)
    duration: Histogram = field(default_factory=Histogram)
    first_token: Histogram = field(default_factory=Histogram)
    per_token: Histogram = field(default_factory=Histogram)
    input_tokens: Histogram = field(default_factory=Histogram)
    output_tokens: Histogram = field(default_factory=Histogram)


def share(some: int, others: int) -> float | None:
    """How many of all are `some`, between 0 and 1; None while there are none at all."""
    return some / (some + others) if some + others else None


@dataclass(slots=True)
class ModelCounts:
    """One model's requests that reached an endpoint. Times in seconds; `last_at` is Unix time.

    `timed_tokens` were written in `writing_seconds`, which is how fast the model writes.
    """

    requests: int = 0
    successes: int = 0
    failures: int = 0
    bytes_out: int = 0
    duration_sum: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    timed_tokens: int = 0
    writing_seconds: float = 0.0
    routed: int = 0
    rejected: int = 0
    fallbacks: int = 0
    last_at: float = field(default=0.0, metadata={"merge": max})
    callers: set[str] = field(default_factory=set)
    durations: Spread = field(default_factory=Spread)
    first_bytes: Spread = field(default_factory=Spread)
    operations: dict[str, OperationCounts] = field(default_factory=dict)

    @property
    def success_rate(self) -> float | None:
        return share(self.successes, self.failures)


@dataclass(slots=True)
class EndpointCounts:
    """One endpoint's attempts that began. Latencies in seconds, over those that were answered."""

    requests: int = 0
    successes: int = 0
    failures: int = 0
    bytes_out: int = 0
    answered: int = 0
    latency_sum: float = 0.0
    latency_min: float = field(default=NEVER, metadata={"merge": min})
    latency_max: float = field(default=0.0, metadata={"merge": max})

    @property
    def success_rate(self) -> float | None:
        return share(self.successes, self.failures)

    @property
    def latency_average(self) -> float | None:
        return self.latency_sum / self.answered if self.answered else None


@dataclass(slots=True)
class Counts:
    """Everything. `since` is when counting began, Unix time; endpoints go by the id of their row as text.

    `named` are figures of rooms that count for themselves, by room and name.
    """

    since: float = field(default=0.0, metadata={"merge": _earlier})
    requests: int = 0
    disconnects: int = 0
    failovers: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    overhead: Histogram = field(default_factory=Histogram)
    queue_wait: Histogram = field(default_factory=Histogram)
    queue_position: Histogram = field(default_factory=Histogram)
    queue_wait_max: float = field(default=0.0, metadata={"merge": max})
    attempts: EndpointCounts = field(default_factory=EndpointCounts)
    endpoints: dict[str, EndpointCounts] = field(default_factory=dict)
    models: dict[str, ModelCounts] = field(default_factory=dict)
    named: dict[str, dict[str, float]] = field(default_factory=dict)


def add(into: Any, other: Any) -> None:
    """Add the numbers of `other` to those of `into`, which is of the same class."""
    for each in fields(other):
        mine, theirs = getattr(into, each.name), getattr(other, each.name)
        if "merge" in each.metadata:
            setattr(into, each.name, each.metadata["merge"](mine, theirs))
        elif isinstance(theirs, dict):
            _add_dict(mine, theirs)
        elif isinstance(theirs, list):
            mine[:] = [sum(pair) for pair in _pairs(mine, theirs)]
        elif isinstance(theirs, set):
            mine.update(list(theirs)[: max(0, MAX_CALLERS - len(mine))])
        elif isinstance(theirs, int | float):
            setattr(into, each.name, mine + theirs)
        else:
            add(mine, theirs)


def _add_dict(mine: dict[Any, Any], theirs: dict[Any, Any]) -> None:
    for key, value in theirs.items():
        if isinstance(value, int | float):
            mine[key] = mine.get(key, 0) + value
        elif isinstance(value, dict):
            _add_dict(mine.setdefault(key, {}), value)
        else:
            add(mine.setdefault(key, type(value)()), value)


def _pairs(mine: list[int], theirs: list[int]) -> Iterator[tuple[int, int]]:
    length = max(len(mine), len(theirs))
    return zip(mine + [0] * (length - len(mine)), theirs + [0] * (length - len(theirs)), strict=True)
