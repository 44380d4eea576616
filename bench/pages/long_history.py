"""Fills a SQLite database with a year of a fleet: 50 endpoints, 200 models, a million checks and requests.

The rows are written by SQLite itself, which takes a minute where Django would take an hour. `fill` first has
Django make what is small and has rules of its own; loaded once Django is set up.
"""

from __future__ import annotations

import json
import sqlite3
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import connection

from endpoints.alerts.alert_models import AlertChannel
from endpoints.choices import Status
from endpoints.models import Endpoint, EndpointHealth, EndpointModel
from endpoints.past import rollup
from ollaproject.wire import roles
from ollaproject.wire.clock import now
from proxy.models import ApiKey, ModelPrice

if TYPE_CHECKING:
    from pathlib import Path

ENDPOINTS: Final = 50
MODELS: Final = 200
KEYS: Final = 200
PEOPLE: Final = 40
TEAMS: Final = 8
REQUEST_DAYS: Final = 30
DAY: Final = 86_400
HOURS: Final = 30 * 24
DAYS: Final = 365
# What is kept besides, for so many checks one: transitions and changes of a year, alerts of 90 days, notices.
PER_TRANSITION: Final = 50
PER_CHANGE: Final = 20
PER_ALERT: Final = 50
PER_NOTICE: Final = 200
ENOUGH_ROWS: Final = 100_000  # for sums of as many hours and days as are kept

TIME = "strftime('%Y-%m-%d %H:%M:%f', {}, 'unixepoch')"
NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < :rows - 1)"

# A check of each endpoint in its turn over the last day; one of 500 finds it down.
CHECKS = f"""
INSERT INTO endpoints_healthcheck (endpoint_id, at, status, reason, http_status, latency_seconds, reply)
{NUMBERS}
SELECT :first_endpoint + i % {ENDPOINTS}, {TIME.format(f":now - {DAY}.0 * (:rows - i) / :rows")},
    iif(i % 500 = 7, 'offline', 'healthy'), iif(i % 500 = 7, 'connection refused', ''),
    iif(i % 500 = 7, NULL, 200), iif(i % 500 = 7, NULL, 0.004 + (i * 7919 % 1000) / 50000.0), ''
FROM n
"""  # noqa: S608 - of constants
# A key asks for three models, each on two endpoints. Of 25 requests one is refused, of 97 one fails.
REQUESTS = f"""
INSERT INTO proxy_requestrecord (at, request_id, caller, method, route, model, endpoint, status, error_code,
    client_left, stream, attempts, ttft_ms, duration_ms, bytes_in, bytes_out, prompt_tokens,
    completion_tokens, cached_tokens, served_model, routing, charged_tokens, outcome, limited_by,
    key_id, key_name, user_id, user_name, team_id, team_name)
{NUMBERS}, r AS (
    SELECT i, i * 7919 % {KEYS} AS k, (i * 7919 % {KEYS} * 3 + i / 7 % 3) % {MODELS} AS m, i / 11 % 2 AS twin,
        i % 25 = 3 AS refused, i % 97 = 5 AS failed
    FROM n)
SELECT {TIME.format(f":now - {REQUEST_DAYS}.0 * {DAY} * (:rows - i) / :rows")}, printf('req_%020x', i), '',
    'POST', '/v1/chat/completions', 'org/model-' || m || '-4bit', 'mini-' || ((m + twin) % {ENDPOINTS}),
    iif(refused, 429, iif(failed, 502, 200)),
    iif(refused, 'rate_limit_exceeded', iif(failed, 'upstream_error', '')), 0, 1,
    '[["mini-' || ((m + twin) % {ENDPOINTS}) || '", null, 0.1, 120.0]]', 90.0 + i % 60, 1500.0 + i % 900, 500,
    4000, 100, 50 + i % 200, 10, '', 'strict routed model_found', 150,
    iif(refused, 'refused', iif(failed, 'failed', 'ok')), '', k + 1, 'key-' || k, :first_user + k % {PEOPLE},
    'person-' || (k % {PEOPLE}), :first_team + k % {TEAMS}, 'team-' || (k % {TEAMS})
FROM r
"""  # noqa: S608
TOTALS = """
INSERT INTO proxy_usagetotal (day, key_id, key_name, user_id, user_name, team_id, team_name, model, endpoint,
    requests, failures, abandoned, limited, prompt_tokens, completion_tokens, cached_tokens, charged_tokens,
    bytes_in, bytes_out, duration_ms, ttft_ms, begun, timed_tokens, writing_ms)
SELECT date(at), key_id, key_name, user_id, user_name, team_id, team_name, model, endpoint, count(*),
    sum(status >= 400), 0, sum(status = 429), sum(prompt_tokens), sum(completion_tokens), sum(cached_tokens),
    sum(charged_tokens), sum(bytes_in), sum(bytes_out), sum(duration_ms), sum(ttft_ms), count(*),
    sum(completion_tokens), sum(duration_ms - ttft_ms)
FROM proxy_requestrecord GROUP BY 1, 2, 4, 6, 8, 9
"""
# What the roll-up would have left of the time before the last day.
SUMMARIES = f"""
INSERT INTO endpoints_checksummary (endpoint_id, span, begins_at, count, failures, answered,
    latency_sum_seconds, latency_min_seconds, latency_max_seconds)
{NUMBERS}
SELECT :first_endpoint + i % {ENDPOINTS},
    :span, {TIME.format(f"(CAST(:now AS INTEGER) / :span - 1 - i / {ENDPOINTS} - :skipped) * :span")},
    :span / 5, 1, :span / 5 - 1, (:span / 5 - 1) * 0.012, 0.004, 0.024
FROM n
"""  # noqa: S608
FLIPS = f"""
INSERT INTO endpoints_transition (endpoint_id, at, old_status, new_status, reason, lost_models)
{NUMBERS}
SELECT :first_endpoint + i / 2 % {ENDPOINTS},
    {TIME.format(f":now - 365.0 * {DAY} * (:rows - i / 2 * 2) / :rows + i % 2 * 240")},
    iif(i % 2, 'offline', 'healthy'), iif(i % 2, 'healthy', 'offline'),
    iif(i % 2, '', 'connection refused'), iif(i % 2, '[]', '["org/model-1-4bit"]')
FROM n
"""  # noqa: S608
EDITS = f"""
INSERT INTO endpoints_change (at, actor, via, kind, subject_id, name, action, differences)
{NUMBERS}
SELECT {TIME.format(f":now - 365.0 * {DAY} * (:rows - i) / :rows")}, 'person-' || (i % {PEOPLE}), 'admin',
    'endpoint', :first_endpoint + i % {ENDPOINTS}, 'mini-' || (i % {ENDPOINTS}), 'changed',
    '["priority: 50 → 60"]'
FROM n
"""  # noqa: S608
SENT = f"""
INSERT INTO endpoints_alertdelivery (channel_id, at, kind, subject, text, path, state, due_at, attempts,
    error)
{NUMBERS}
SELECT :channel, {TIME.format(f":now - 90.0 * {DAY} * (:rows - i) / :rows")}, 'down',
    'mini-' || (i % {ENDPOINTS}), 'mini-' || (i % {ENDPOINTS}) || ' is down: connection refused', '', 'sent',
    {TIME.format(f":now - 90.0 * {DAY} * (:rows - i) / :rows")}, 1, ''
FROM n
"""  # noqa: S608
REACHED = f"""
INSERT INTO proxy_budgetreached (kind, subject_id, name, period, since, budget, at)
{NUMBERS}
SELECT 'key', 1 + i % {KEYS}, 'key-' || (i % {KEYS}), 'day', date(:now - i / {KEYS} * {DAY}, 'unixepoch'),
    100000, {TIME.format(f":now - i / {KEYS} * {DAY}")}
FROM n
"""  # noqa: S608


def fill(path: Path, rows: int) -> None:
    """Make the fleet, its people and their keys, and `rows` checks and as many requests."""
    call_command("migrate", verbosity=0)
    known = make_fleet() | make_people()
    connection.close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA synchronous = OFF")
        known["now"] = now().timestamp()

        def write(statement: str, count: int, **more: int) -> None:
            database.execute(statement, known | {"rows": count} | more)

        write(CHECKS, rows)
        write(REQUESTS, rows)
        database.execute(TOTALS)
        part = min(1.0, rows / ENOUGH_ROWS)
        for span, periods, skipped in ((3600, HOURS, 24), (DAY, DAYS, 1)):
            write(SUMMARIES, int(periods * part) * ENDPOINTS, span=span, skipped=skipped)
        write(FLIPS, rows // PER_TRANSITION)
        write(EDITS, rows // PER_CHANGE)
        write(SENT, rows // PER_ALERT)
        write(REACHED, rows // PER_NOTICE)
    rollup.roll_up(now())


def make_fleet() -> dict[str, int | float]:
    """Every model is on two endpoints, and every tenth endpoint is down."""
    at = now()
    rows = [
        Endpoint.objects.create(name=f"mini-{number}", url=f"http://mini-{number}.test:8000", tags=["rack-1"])
        for number in range(ENDPOINTS)
    ]
    for number, row in enumerate(rows):
        down = not number % 10
        EndpointHealth.objects.filter(pk=row.pk).update(
            status=Status.OFFLINE if down else Status.HEALTHY,
            reason="connection refused" if down else "",
            since=at - timedelta(hours=2),
            checked_at=at,
            next_check_at=at + timedelta(days=1),
            latency_seconds=0.012,
            memory_bytes=12_000_000_000,
        )
        EndpointModel.objects.bulk_create(
            EndpointModel(
                endpoint=row,
                name=f"org/model-{model}-4bit",
                created=0,
                first_seen_at=at,
                last_seen_at=at,
                family=f"family-{model % 12}",
                quantization="4bit",
                parameter_size="8B",
                is_loaded=model % 3 == 0,
                capabilities=["chat", "tools"],
            )
            for model in range(MODELS)
            if number in {model % ENDPOINTS, (model + 1) % ENDPOINTS}
        )
    channel = AlertChannel.objects.create(name="on call", kind="webhook")
    return {"first_endpoint": rows[0].pk, "channel": channel.pk}


def make_people() -> dict[str, int | float]:
    teams = [Group.objects.create(name=f"team-{number}") for number in range(TEAMS)]
    people = [User.objects.create_user(f"person-{number}") for number in range(PEOPLE)]
    for number, person in enumerate(people):
        roles.grant(person, roles.LEAD if number % 5 == 0 else roles.MEMBER)
        person.groups.add(teams[number % TEAMS])
    ApiKey.objects.bulk_create(
        ApiKey(
            id=number + 1,
            name=f"key-{number}",
            public_id=f"{number:012d}",
            owner=people[number % PEOPLE],
            team=teams[number % TEAMS],
            digest=f"{number:064x}",
        )
        for number in range(KEYS)
    )
    ModelPrice.objects.create(pattern="org/*", prompt=1, completion=4)
    ModelPrice.objects.create(pattern="org/model-7*", prompt=2, cached=1, completion=8)
    return {"first_user": people[0].pk, "first_team": teams[0].pk}


def sizes() -> str:
    """How many rows the large tables have."""
    from django.apps import apps  # noqa: PLC0415 - after Django is set up

    counts = {model._meta.db_table: model._default_manager.count() for model in apps.get_models()}
    large = {name: number for name, number in counts.items() if number >= 1000}  # noqa: PLR2004
    return json.dumps(dict(sorted(large.items(), key=lambda pair: -pair[1])))
