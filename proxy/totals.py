"""Sums requests up per day, key, user, team, model and endpoint: what is kept when their rows are gone.

It happens in the transaction that writes the rows, so the sums and the rows never disagree.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from django.db import connection

from proxy.meter import MIN_TIMED_TOKENS
from proxy.models import ApiKey, UsageTotal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from django.db.backends.utils import CursorWrapper

FIRST_FAILED_STATUS = 400

Row = dict[str, Any]

WHICH = ("day", "key_id", "user_id", "team_id", "model", "endpoint")
NAMES = ("key_name", "user_name", "team_name")
COUNTED = (
    *("requests", "failures", "abandoned", "limited"),
    *("prompt_tokens", "completion_tokens", "cached_tokens", "charged_tokens"),
    *("bytes_in", "bytes_out", "duration_ms", "ttft_ms", "begun"),
    *("timed_tokens", "writing_ms"),
)
NOTHING = (0,) * len(COUNTED)


def add(cursor: CursorWrapper, batch: Iterable[tuple[datetime, Row]]) -> None:
    """Add rows of requests, each with the moment at which it ended, to the totals of their days."""
    sums: dict[tuple[Any, ...], list[Any]] = {}
    names: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for at, row in batch:
        which = (at.date(), row["key_id"], row["user_id"], row["team_id"], *_where(row))
        before = sums.get(which, NOTHING)
        sums[which] = list(map(operator.add, before, _counted(row)))
        names[which] = (row["key_name"], row["user_name"], row["team_name"])
    # In one order, whoever writes: two processes then never wait for each other's rows in a circle.
    cursor.executemany(_upsert(), [[*which, *names[which], *sums[which]] for which in sorted(sums)])


def _where(row: Row) -> tuple[str, str]:
    """The model that answered, and where. What reached no endpoint may bear any name, so it bears none."""
    return (row["served_model"] or row["model"], row["endpoint"]) if row["endpoint"] else ("", "")


def _counted(row: Row) -> tuple[Any, ...]:
    """What a row adds to COUNTED."""
    failed = not row["client_left"] and bool(row["status"] >= FIRST_FAILED_STATUS or row["error_code"])
    begun = row["ttft_ms"] is not None
    written = row["completion_tokens"] or 0
    timed = begun and row["stream"] and written >= MIN_TIMED_TOKENS
    return (
        1,
        failed,
        row["client_left"],
        bool(row["limited_by"]),
        row["prompt_tokens"] or 0,
        written,
        row["cached_tokens"] or 0,
        row["charged_tokens"],
        row["bytes_in"],
        row["bytes_out"],
        row["duration_ms"],
        row["ttft_ms"] if begun else 0.0,
        begun,
        written - 1 if timed else 0,
        row["duration_ms"] - row["ttft_ms"] if timed else 0.0,
    )


def _upsert() -> str:
    quote = connection.ops.quote_name
    table = quote(UsageTotal._meta.db_table)
    columns = (*WHICH, *NAMES, *COUNTED)
    latest = [f"{quote(name)} = excluded.{quote(name)}" for name in NAMES]
    added = [f"{quote(name)} = {table}.{quote(name)} + excluded.{quote(name)}" for name in COUNTED]
    return (
        f"INSERT INTO {table} ({', '.join(map(quote, columns))}) "  # noqa: S608 - names of our own
        f"VALUES ({', '.join(['%s'] * len(columns))}) "
        f"ON CONFLICT ({', '.join(map(quote, WHICH))}) DO UPDATE SET {', '.join([*latest, *added])}"
    )


def note_use(cursor: CursorWrapper, last: Mapping[int, Any]) -> None:
    """Write when keys were last used: by id, the moment as the database has it."""
    quote = connection.ops.quote_name
    sql = f"UPDATE {quote(ApiKey._meta.db_table)} SET {quote('last_used_at')} = %s WHERE id = %s"  # noqa: S608
    cursor.executemany(sql, [(at, key_id) for key_id, at in sorted(last.items())])
