"""How fast an endpoint answered its checks over the last day: the mean of each half hour.

A half hour that is over does not change, so it is summed up once, from the sums of its minutes, and kept; a
fleet of fifty that is checked every five seconds has 18,000 checks in each. The last ones, whose minutes may
not be summed up yet, are read from the checks, once a minute.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from django.core.cache import cache
from django.db.models import Avg, F, FloatField, Func, IntegerField, Sum

from endpoints.choices import Span
from endpoints.models import CheckSummary, HealthCheck

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.models import QuerySet

BUCKET_SECONDS: Final = 1800
BUCKETS: Final = 48
# The first page after a start does not wait until all of the day is read.
READ_AT_ONCE: Final = 16
# A check is stored when it ends, under the time at which it began; `rollup` takes its time as well.
SETTLED_AFTER_SECONDS: Final = 300
KEPT_SECONDS: Final = (BUCKETS + 1) * BUCKET_SECONDS
KEPT_WHILE_RUNNING_SECONDS: Final = 60

Means = dict[int, float]


class Bucket(Func):
    """The half hour of a time, counted from 1970."""

    output_field = IntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = f"CAST(strftime('%%%%s', %(expressions)s) AS INTEGER) / {BUCKET_SECONDS}"
        return self.as_sql(compiler, connection, template=template, **context)

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = f"CAST(FLOOR(EXTRACT(EPOCH FROM %(expressions)s) / {BUCKET_SECONDS}) AS INTEGER)"
        return self.as_sql(compiler, connection, template=template, **context)


def series(at: datetime) -> dict[int, list[float | None]]:
    """Seconds in each of BUCKETS half hours until `at`, the oldest first, for each endpoint that was checked.

    Right after a start not all of the day is there: a page that asks again has READ_AT_ONCE half hours more.
    """
    last = int(at.timestamp()) // BUCKET_SECONDS
    buckets = range(last - BUCKETS + 1, last + 1)
    kept: dict[str, Means] = cache.get_many([key(bucket) for bucket in buckets])
    missing = [bucket for bucket in buckets if key(bucket) not in kept]
    if missing:
        kept |= read([bucket for bucket in missing if bucket > missing[-1] - READ_AT_ONCE], at=at)
    found: dict[int, list[float | None]] = defaultdict(lambda: [None] * BUCKETS)
    for place, bucket in enumerate(buckets):
        for endpoint_id, mean in kept.get(key(bucket), {}).items():
            found[endpoint_id][place] = mean
    return found


def read(buckets: list[int], *, at: datetime) -> dict[str, Means]:
    """Read these half hours from the database, and keep them. At most two queries."""
    first_open = int(at.timestamp() - SETTLED_AFTER_SECONDS) // BUCKET_SECONDS
    settled = [bucket for bucket in buckets if bucket < first_open]
    still_open = [bucket for bucket in buckets if bucket >= first_open]
    means = from_minutes(settled) | from_checks(still_open)
    cache.set_many(keyed(means, settled), KEPT_SECONDS)
    cache.set_many(keyed(means, still_open), KEPT_WHILE_RUNNING_SECONDS)
    return keyed(means, buckets)


def from_minutes(buckets: list[int]) -> dict[int, Means]:
    rows = CheckSummary.objects.filter(span=Span.MINUTE, answered__gt=0)
    mean = Sum("latency_sum_seconds") / Sum("answered", output_field=FloatField())
    return means_of(rows, "begins_at", mean, buckets)


def from_checks(buckets: list[int]) -> dict[int, Means]:
    rows = HealthCheck.objects.exclude(latency_seconds=None)
    return means_of(rows, "at", Avg("latency_seconds"), buckets)


def means_of(rows: QuerySet[Any], moment: str, mean: Any, buckets: list[int]) -> dict[int, Means]:
    means: dict[int, Means] = {bucket: {} for bucket in buckets}
    if not buckets:
        return means
    within = {f"{moment}__gte": begin(min(buckets)), f"{moment}__lt": begin(max(buckets) + 1)}
    grouped = rows.filter(**within).order_by().values("endpoint_id", bucket=Bucket(F(moment)))
    for row in grouped.annotate(mean=mean):
        if row["bucket"] in means:
            means[row["bucket"]][row["endpoint_id"]] = row["mean"]
    return means


def begin(bucket: int) -> datetime:
    return datetime.fromtimestamp(bucket * BUCKET_SECONDS, UTC)


def keyed(means: dict[int, Means], buckets: Iterable[int]) -> dict[str, Means]:
    return {key(bucket): means[bucket] for bucket in buckets}


def key(bucket: int) -> str:
    return f"latency:{bucket}"
