"""The fleet that is checked, the checking, and the figures of it."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta

from django.core.management import call_command
from django.db import connection

from endpoints import tasks
from endpoints.health import prober
from endpoints.health.schedule import LOOKAHEAD_SECONDS
from endpoints.models import Endpoint, EndpointHealth, HealthCheck
from ollaproject.wire import clock

TICK_SECONDS = 1.0
DAY_SECONDS = 86_400
MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Run:
    """`seconds` of checking; `cpu_seconds` is this process's, `grown_bytes` the database's."""

    seconds: float
    cpu_seconds: float
    grown_bytes: int


def make(count: int, *, interval: float, url: str) -> None:
    """A migrated database with `count` endpoints, due one after the other, spread over an interval."""
    call_command("migrate", verbosity=0)
    endpoints = [
        Endpoint(name=f"mini-{number}", url=url, check_interval_seconds=interval) for number in range(count)
    ]
    Endpoint.objects.bulk_create(endpoints)
    begin = clock.now() + timedelta(seconds=LOOKAHEAD_SECONDS)
    EndpointHealth.objects.bulk_create(
        EndpointHealth(
            endpoint=endpoint,
            since=begin,
            next_check_at=begin + timedelta(seconds=interval * number / count),
        )
        for number, endpoint in enumerate(endpoints)
    )


def watch_over(seconds: int) -> Run:
    """Tick as beat does, for so long."""
    size, started, cpu = _size(), time.perf_counter(), time.process_time()
    for number in range(seconds):
        tasks.check_due()
        time.sleep(max(0.0, started + (number + 1) * TICK_SECONDS - time.perf_counter()))
    took, used = time.perf_counter() - started, time.process_time() - cpu
    prober.stop()
    return Run(seconds=took, cpu_seconds=used, grown_bytes=_size() - size)


def report(run: Run, *, interval: float, count: int) -> None:
    late = _lateness(interval)
    statuses = Counter(EndpointHealth.objects.values_list("status", flat=True))
    found = Counter(HealthCheck.objects.values_list("status", "reason"))
    expected = count * run.seconds / interval
    per_day = run.grown_bytes / len(late) * count * DAY_SECONDS / interval
    print(f"{count} endpoints every {interval:g} s for {run.seconds:.0f} s; at the end {_in_words(statuses)}")
    for (status, reason), number in found.most_common():
        print(f"found: {number} times {status}{f' ({reason})' if reason else ''}")
    print(f"checks: {len(late)}, {len(late) / run.seconds:.1f} a second, of {expected / run.seconds:.1f} due")
    cuts = statistics.quantiles([1000 * seconds for seconds in late], n=100)
    print(f"late by: median {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms, at most {max(late) * 1000:.0f} ms")
    print(f"CPU: {run.cpu_seconds / run.seconds:.0%} of a core")
    print(f"database: {run.grown_bytes / len(late):.0f} bytes a check, {per_day / MIB:.0f} MiB a day")


def _in_words(statuses: Counter[str]) -> str:
    return ", ".join(f"{number} {status}" for status, number in statuses.most_common())


def _lateness(interval: float) -> list[float]:
    """Seconds between when each check was due and when it began. The plan keeps its anchor throughout."""
    found = []
    plans = dict(EndpointHealth.objects.values_list("pk", "next_check_at"))
    for endpoint_id, at in HealthCheck.objects.values_list("endpoint_id", "at"):
        found.append((at - plans[endpoint_id]).total_seconds() % interval)
    return found


def _size() -> int:
    """Bytes of the database, its journal written back."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        cursor.execute("PRAGMA page_count")
        (pages,) = cursor.fetchone()
        cursor.execute("PRAGMA page_size")
        (page_bytes,) = cursor.fetchone()
    return int(pages) * int(page_bytes)
