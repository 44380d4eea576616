"""The database and the broker: do they answer, are they of today, and do their clocks agree with ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import redis
from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import Error

from ollaproject.doctor.findings import Finding, ok, problem, warning
from ollaproject.wire import clock
from proxy.status import readiness

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

BYTES_PER_MEGABYTE = 1_000_000
# Windows of limits, checks that fall due and who is alive are told by time stamps of several hosts.
MAX_CLOCK_DIFFERENCE_SECONDS = 1.0
REDIS_TIMEOUT_SECONDS = 2


def database() -> Iterator[Finding]:
    answer = readiness.ask_database()
    if answer != "ok":
        yield problem("database", answer, "")
        return
    executor = MigrationExecutor(connection)
    waiting = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    if waiting:
        text = f"{waiting} migration{'s' * (waiting > 1)} not applied: the tables are of an older version."
        yield problem("database", text, "Run: manage.py migrate")
    else:
        yield ok("database", _describe())


def _describe() -> str:
    if connection.vendor == "sqlite":
        path = Path(connection.settings_dict["NAME"])
        return f"SQLite, {path.stat().st_size / BYTES_PER_MEGABYTE:,.1f} MB ({path})"
    host = connection.settings_dict["HOST"] or "this machine"
    return f"{connection.display_name} on {host}, migrated"


def broker() -> Iterator[Finding]:
    answer = readiness.ask_broker()
    if answer != "ok":
        yield problem("broker", answer, "")
        return
    if settings.REDIS_URL:
        yield ok("broker", "Redis answers")
    else:
        yield ok("broker", "Files in OLLA_HOME: for one host. Several need PostgreSQL and Redis.")


def clocks() -> Iterator[Finding]:
    """Whether PostgreSQL's and Redis' clocks agree with this host's; nothing to compare without them."""
    others = [
        (name, found) for name, found in (("PostgreSQL", _of_database()), ("Redis", _of_redis())) if found
    ]
    if not others:
        yield ok("clock", "Only this machine's own")
    for name, ahead in others:
        text = f"{name} is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} this machine"
        if abs(ahead) > MAX_CLOCK_DIFFERENCE_SECONDS:
            hint = "Set both by NTP: limits, checks and who is alive are told by time stamps of all hosts."
            yield warning("clock", text, hint)
        else:
            yield ok("clock", f"{name} and this machine agree")


def _of_database() -> float | None:
    """By how many seconds the database's clock is ahead of ours."""
    if connection.vendor != "postgresql":
        return None
    try:
        with connection.cursor() as cursor:
            before = clock.now()
            cursor.execute("SELECT clock_timestamp()")
            (there,) = cursor.fetchone()
    except Error:
        return None  # said already
    return _ahead(there, before, clock.now())


def _of_redis() -> float | None:
    if not settings.REDIS_URL:
        return None
    client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=REDIS_TIMEOUT_SECONDS)
    try:
        with client:
            before = clock.now().timestamp()
            seconds, microseconds = cast("tuple[int, int]", client.time())
            after = clock.now().timestamp()
    except redis.RedisError:
        return None  # said already
    return float(seconds + microseconds / 1e6 - (before + after) / 2)


def _ahead(there: datetime, before: datetime, after: datetime) -> float:
    return (there - before - (after - before) / 2).total_seconds()
