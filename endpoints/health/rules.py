"""The health rules, pure: what the result of a check makes of an endpoint, and how soon to check it again.

An endpoint goes down when several checks in a row have failed. The second follows the first at once, so one
lost packet takes nothing down, and a dead server is still seen within its interval. What stays down is
checked more and more seldom; what keeps going up and down must be well for longer before it is trusted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from endpoints.choices import ROUTABLE, Status
from ollaproject.wire.durations import format_duration

if TYPE_CHECKING:
    from datetime import datetime

    from endpoints.health.findings import ProbeResult

# A warming endpoint is on its way up, one that is asleep comes when it is called, and an unknown one was not
# asked.
FAILURES = frozenset(Status) - ROUTABLE - {Status.WARMING, Status.ASLEEP, Status.UNKNOWN}
# These may be an accident of one moment. The others a server says on purpose, and one that limits our
# requests is not to be asked again at once.
WORTH_CONFIRMING = frozenset({Status.OFFLINE, Status.UNHEALTHY})
MAX_REASON_LENGTH = 300

CONFIRM_SECONDS = 0.25
# What was away for a minute is checked every 15 s: it is noticed after at most a quarter more of its absence.
BACK_OFF_SHARE = 0.25
SLOWEST_CHECK_SECONDS = 60.0
# Endpoints that went down together, with their host, are not asked in step for ever.
JITTER_SHARE = 0.2
LONGEST_RETRY_AFTER_SECONDS = 3600.0

# An endpoint is busy when a check takes this much of its time, and until one takes a good deal less.
BUSY_SHARE = 0.75
CALM_SHARE = 0.4

FLAP_WINDOW = timedelta(minutes=10)
FLAPS = 3
SUCCESSES_WHEN_FLAPPING = 3


@dataclass(frozen=True, slots=True)
class Thresholds:
    """How many checks in a row must fail, and how many must be good, before a status flips."""

    failures_to_go_down: int = 2
    successes_to_come_back: int = 1


@dataclass(frozen=True, slots=True)
class HealthState:
    """How an endpoint is: `since` is when its status became what it is.

    `loading_since` is when it began to load a model; None when it does not, or is done.
    """

    status: Status
    reason: str
    since: datetime
    consecutive_failures: int = 0
    consecutive_successes: int = 0
    flapping: bool = False
    loading_since: datetime | None = None

    @property
    def doubted(self) -> bool:
        """Whether a check has failed that another must confirm, at once."""
        return self.status in ROUTABLE and self.consecutive_failures > 0


@dataclass(frozen=True, slots=True)
class Pace:
    """How often an endpoint is checked while it is well, and what changes that.

    `asked_at` is when an operator last wanted to know: the checks then begin anew at full pace. `retry_after`
    is what the endpoint asked of us, in seconds. `backs_off` is false where a check costs nothing.
    """

    interval: float
    asked_at: datetime | None = None
    retry_after: float | None = None
    backs_off: bool = True


def judge(
    state: HealthState,
    result: ProbeResult,
    *,
    at: datetime,
    thresholds: Thresholds,
    load_seconds: float = 0.0,
) -> HealthState:
    """The state after `result`. `load_seconds` is how long its model may take to load, 0 for any time."""
    state = _loading(state, result, at=at)
    result = _with_patience(state, _weighed(state, result), at=at, load_seconds=load_seconds)
    counted = replace(
        state,
        consecutive_failures=state.consecutive_failures + 1 if result.status in FAILURES else 0,
        consecutive_successes=state.consecutive_successes + 1 if result.status in ROUTABLE else 0,
    )
    if _is_unconfirmed(counted, result, thresholds):
        return counted
    needed = _successes_needed(counted, result, thresholds)
    if counted.consecutive_successes < needed:
        again = f"it answers again: {counted.consecutive_successes} of {needed} good checks in a row"
        return replace(
            counted, reason=f"{again}, for it keeps going up and down" if state.flapping else again
        )
    return replace(
        counted,
        status=result.status,
        reason=result.reason[:MAX_REASON_LENGTH],
        since=state.since if result.status == state.status else at,
    )


def _loading(state: HealthState, result: ProbeResult, *, at: datetime) -> HealthState:
    """Whether it loads a model: from the first check that says so until one that finds it well."""
    if result.status == Status.WARMING:
        return replace(state, loading_since=state.loading_since or at)
    done = result.status in ROUTABLE or state.status not in {Status.WARMING, Status.UNHEALTHY, Status.OFFLINE}
    return replace(state, loading_since=None) if done else state


def _weighed(state: HealthState, result: ProbeResult) -> ProbeResult:
    """An endpoint that answers its checks slowly is busy."""
    limit = CALM_SHARE if state.status == Status.BUSY else BUSY_SHARE
    if result.status != Status.HEALTHY or result.time_share is None or result.time_share < limit:
        return result
    took = f"a check took {result.latency_seconds or 0:.1f} s"
    return replace(result, status=Status.BUSY, reason=result.reason or took)


def _with_patience(
    state: HealthState, result: ProbeResult, *, at: datetime, load_seconds: float
) -> ProbeResult:
    """A server that loads a model may not answer meanwhile. It is not called dead while that may last."""
    if not load_seconds or state.loading_since is None:
        return result
    in_time = (at - state.loading_since).total_seconds() < load_seconds
    if result.status == Status.WARMING and not in_time:
        reason = f"its model has been loading for longer than {format_duration(load_seconds)}"
        return replace(result, status=Status.UNHEALTHY, reason=reason)
    if state.status == Status.WARMING and result.silent and in_time:
        reason = "its model is loading, and it does not answer meanwhile"
        return replace(result, status=Status.WARMING, reason=reason)
    return result


def _is_unconfirmed(counted: HealthState, result: ProbeResult, thresholds: Thresholds) -> bool:
    return (
        counted.status in ROUTABLE
        and result.status in WORTH_CONFIRMING
        and counted.consecutive_failures < thresholds.failures_to_go_down
    )


def _successes_needed(counted: HealthState, result: ProbeResult, thresholds: Thresholds) -> int:
    if result.status not in ROUTABLE or counted.status in {*ROUTABLE, Status.UNKNOWN}:
        return 0
    usual = thresholds.successes_to_come_back
    return max(usual, SUCCESSES_WHEN_FLAPPING) if counted.flapping else usual


def goes_down(old: HealthState, new: HealthState) -> bool:
    """Whether an endpoint that was well has failed."""
    return old.status in ROUTABLE and new.status in FAILURES


def comes_back(old: HealthState, new: HealthState) -> bool:
    """Whether an endpoint that had failed, or was warming up, serves again."""
    return old.status in {*FAILURES, Status.WARMING} and new.status in ROUTABLE


def is_flapping(times_down: int) -> bool:
    """Whether it has gone down so often within FLAP_WINDOW that its coming back means little."""
    return times_down >= FLAPS


def next_check_in(state: HealthState, pace: Pace, *, at: datetime, jitter: float) -> float:
    """Seconds from the check at `at` to the next. `jitter` is a random number between 0 and 1."""
    if state.doubted:
        return CONFIRM_SECONDS
    if state.status not in FAILURES or state.consecutive_successes:
        return pace.interval
    if state.status == Status.RATE_LIMITED and pace.retry_after is not None:
        return max(pace.interval, min(pace.retry_after, LONGEST_RETRY_AFTER_SECONDS))
    if not pace.backs_off:
        return pace.interval
    begun = max(state.since, pace.asked_at or state.since)
    slowed = min((at - begun).total_seconds() * BACK_OFF_SHARE, SLOWEST_CHECK_SECONDS)
    return max(pace.interval, slowed * (1 - JITTER_SHARE * jitter))
