"""How busy the gateway is now: requests, tokens, errors and times of the last minutes, of all processes.

Read from the rows of requests, which every process writes within a second, so that each page shows the same
whichever process answers it. Ten seconds that are over do not change: they are read once. What is under way
comes from what the processes tell each other (shared_counts); its past is what was seen while pages looked.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypedDict

from django.conf import settings
from django.db.models import Count, F, Func, IntegerField, Q, Sum, Value
from django.db.models.functions import Coalesce

from endpoints.pages import sparkline
from ollaproject.wire.clock import now
from proxy.models import Came, RequestRecord
from proxy.records import shared_counts

if TYPE_CHECKING:
    from collections.abc import Sequence

BUCKET_SECONDS: Final = 10
BUCKETS: Final = 30
WINDOW_BUCKETS: Final = 6  # what a rate is the mean of: the last minute
# Rows are written a second after their request ended, or later where the database is slow.
SETTLED_AFTER_SECONDS: Final = 20
# Percentiles are of no more answers than these, the newest.
TIMES_READ: Final = 2000
FRESH_SECONDS: Final = 1.0
LINE_HEIGHT: Final = 100
HEADROOM: Final = 1.15  # the highest value does not touch the edge


class Bucket(Func):
    """The ten seconds of a time, counted from 1970."""

    output_field = IntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = f"CAST(strftime('%%%%s', %(expressions)s) AS INTEGER) / {BUCKET_SECONDS}"
        return self.as_sql(compiler, connection, template=template, **context)

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = f"CAST(FLOOR(EXTRACT(EPOCH FROM %(expressions)s) / {BUCKET_SECONDS}) AS INTEGER)"
        return self.as_sql(compiler, connection, template=template, **context)


@dataclass(slots=True)
class Sums:
    """Of the requests that ended in ten seconds. `written` are tokens by the name of their endpoint."""

    requests: int = 0
    failures: int = 0
    tokens: int = 0
    written: dict[str, int] = field(default_factory=dict)


class Line(TypedDict):
    """A figure as it is shown, and the `d` of its SVG path over BUCKETS steps."""

    value: float | None
    path: str


class UnderWay(TypedDict):
    """`in_flight` and `waiting` are now, of all processes; None where these do not share what they count.

    `running_at` is by the id of an endpoint.
    """

    in_flight: Line
    waiting: Line
    running_at: dict[str, int] | None


class Figures(UnderWay):
    """Rates per second over the last minute, times in milliseconds; `tokens_at` is tok/s at an endpoint."""

    requests: Line
    tokens: Line
    errors: Line
    ttft_p50_ms: float | None
    ttft_p95_ms: float | None
    tokens_at: dict[str, float]
    running_at: dict[str, int] | None


_lock = threading.Lock()
_kept: dict[int, Sums] = {}
_seen: dict[int, tuple[int, int]] = {}  # the most under way and waiting in each ten seconds
_last: tuple[float, Figures] | None = None


def current() -> Figures:
    """The figures, at most a second old. However many pages ask, the database is asked once a second."""
    global _last  # noqa: PLW0603
    with _lock:
        if _last is None or time.monotonic() - _last[0] >= FRESH_SECONDS:
            _last = time.monotonic(), read(now())
        return _last[1]


def forget() -> None:
    """Read everything anew next time."""
    global _last  # noqa: PLW0603
    with _lock:
        _last = None
        _kept.clear()
        _seen.clear()


def read(at: datetime) -> Figures:
    """The figures at a time. Three queries."""
    sums = history(at)
    recent = sums[-WINDOW_BUCKETS:]
    tokens_at: dict[str, float] = defaultdict(float)
    for each in recent:
        for endpoint, tokens in each.written.items():
            tokens_at[endpoint] += tokens / (WINDOW_BUCKETS * BUCKET_SECONDS)
    median, slow = percentiles(at)
    return {
        "requests": line([each.requests for each in sums], per=WINDOW_BUCKETS * BUCKET_SECONDS),
        "tokens": line([each.tokens for each in sums], per=WINDOW_BUCKETS * BUCKET_SECONDS),
        "errors": line([each.failures for each in sums], per=1),
        "ttft_p50_ms": median,
        "ttft_p95_ms": slow,
        "tokens_at": {endpoint: round(rate, 1) for endpoint, rate in tokens_at.items()},
        **under_way(at),
    }


def under_way(at: datetime) -> UnderWay:
    """What every process that lives says of now."""
    if not settings.OLLA_SHARED_COUNTS:
        unknown: Line = {"value": None, "path": ""}
        return {"in_flight": unknown, "waiting": unknown, "running_at": None}
    there = shared_counts.present(at)
    running = sum(there.in_flight.values())
    bucket = int(at.timestamp()) // BUCKET_SECONDS
    most = _seen.get(bucket, (0, 0))
    _seen[bucket] = max(most[0], running), max(most[1], there.waiting)
    for old in [each for each in _seen if each <= bucket - BUCKETS]:
        del _seen[old]
    past = [_seen.get(each) for each in range(bucket - BUCKETS + 1, bucket + 1)]
    return {
        "in_flight": level(running, [each and each[0] for each in past]),
        "waiting": level(there.waiting, [each and each[1] for each in past]),
        "running_at": there.in_flight,
    }


def level(value: int, past: Sequence[int | None]) -> Line:
    """A figure that is what it is now. Where nobody looked its line has a gap."""
    top = max((each for each in past if each is not None), default=0) * HEADROOM or 1
    return {"value": value, "path": sparkline.path(past, height=LINE_HEIGHT, top=top)}


def line(values: Sequence[float], *, per: float) -> Line:
    path = sparkline.path(values, height=LINE_HEIGHT, top=max(values, default=0) * HEADROOM or 1)
    return {"value": round(sum(values[-WINDOW_BUCKETS:]) / per, 2), "path": path}


def history(at: datetime) -> list[Sums]:
    """The last BUCKETS whole ten seconds before `at`, the oldest first."""
    last = int(at.timestamp() - 1) // BUCKET_SECONDS
    wanted = range(last - BUCKETS, last)
    settled = int(at.timestamp() - SETTLED_AFTER_SECONDS) // BUCKET_SECONDS
    unread = [bucket for bucket in wanted if bucket not in _kept]
    if unread:
        found = sums_from(unread[0])
        for bucket in [old for old in _kept if old < wanted[0]]:
            del _kept[bucket]
        _kept.update({bucket: found.get(bucket, Sums()) for bucket in unread if bucket < settled})
        return [_kept.get(bucket) or found.get(bucket, Sums()) for bucket in wanted]
    return [_kept[bucket] for bucket in wanted]


def sums_from(bucket: int) -> dict[int, Sums]:
    rows = (
        RequestRecord.objects.filter(at__gte=datetime.fromtimestamp(bucket * BUCKET_SECONDS, UTC))
        .order_by()
        # Grouped by a column, SQLite would go by its index, through all of the table.
        .values(where=Coalesce(F("endpoint"), Value("")), bucket=Bucket(F("at")))
        .annotate(
            requests=Count("pk"),
            failures=Count("pk", filter=Q(outcome=Came.FAILED)),
            tokens=Sum("completion_tokens", default=0),
        )
    )
    found: dict[int, Sums] = defaultdict(Sums)
    for row in rows:
        sums = found[row["bucket"]]
        sums.requests += row["requests"]
        sums.failures += row["failures"]
        sums.tokens += row["tokens"]
        if row["tokens"]:
            sums.written[row["where"]] = row["tokens"]
    return found


def percentiles(at: datetime) -> tuple[float | None, float | None]:
    """The median time to the first byte in the last minutes, and what 95 of 100 answers were faster than."""
    since = at - timedelta(seconds=BUCKETS * BUCKET_SECONDS)
    newest = (
        RequestRecord.objects.filter(at__gte=since, ttft_ms__isnull=False, completion_tokens__gt=0)
        .order_by("-at")
        .values_list("ttft_ms", flat=True)[:TIMES_READ]
    )
    times = sorted(ms for ms in newest if ms is not None)
    if not times:
        return None, None
    return times[len(times) // 2], times[min(len(times) - 1, int(len(times) * 0.95))]
