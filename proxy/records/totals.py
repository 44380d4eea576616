"""Sums requests up per day, key, user, team, model and endpoint: what is kept when their rows are gone.

It happens in the transaction that writes the rows, so the sums and the rows never disagree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import connection

from proxy.answer.usage import Tokens
from proxy.models import NAME_LENGTH, ApiKey, UsageTotal
from proxy.records.history_rows import moment, whose
from proxy.records.meter import MIN_TIMED_TOKENS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.backends.utils import CursorWrapper

    from proxy.records.record import Outcome

FIRST_FAILED_STATUS = 400

WHICH = ("day", "key_id", "user_id", "team_id", "model", "endpoint")
NAMES = ("key_name", "user_name", "team_name")
COUNTED = (
    *("requests", "failures", "abandoned", "limited"),
    *("prompt_tokens", "completion_tokens", "cached_tokens", "charged_tokens"),
    *("bytes_in", "bytes_out", "duration_ms", "ttft_ms", "begun"),
    *("timed_tokens", "writing_ms"),
)
NO_TOKENS = Tokens(None, None, None)


def add(cursor: CursorWrapper, outcomes: Iterable[Outcome]) -> None:
    """Add requests to the totals of their days."""
    counted: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    names: dict[tuple[Any, ...], tuple[str, str, str]] = {}
    for outcome in outcomes:
        key_id, key_name, user_id, user_name, team_id, team_name = whose(outcome.holder)
        which = (outcome.ended_at.date(), key_id, user_id, team_id, *_where(outcome))
        counted.setdefault(which, []).append(_counted(outcome))
        names[which] = (key_name, user_name, team_name)
    # In one order, whoever writes: two processes then never wait for each other's rows in a circle.
    totals = [
        [*which, *names[which], *map(sum, zip(*counted[which], strict=True))] for which in sorted(counted)
    ]
    cursor.executemany(_upsert(), totals)


def _where(outcome: Outcome) -> tuple[str, str]:
    """The model that answered, and where. What reached no endpoint may bear any name, so it bears none."""
    if not outcome.endpoint:
        return "", ""
    return (outcome.served_model or outcome.model or "")[:NAME_LENGTH], outcome.endpoint[:NAME_LENGTH]


def _counted(outcome: Outcome) -> tuple[Any, ...]:
    """What a request adds to COUNTED."""
    tokens, ttft = outcome.tokens or NO_TOKENS, outcome.ttft
    failed = not outcome.client_left and bool(outcome.status >= FIRST_FAILED_STATUS or outcome.error_code)
    written = tokens.completion or 0
    timed = ttft is not None and outcome.stream and written >= MIN_TIMED_TOKENS
    return (
        1,
        failed,
        outcome.client_left,
        outcome.full is not None,
        tokens.prompt or 0,
        written,
        tokens.cached or 0,
        outcome.charged,
        outcome.bytes_in,
        outcome.bytes_out,
        outcome.duration * 1000,
        (ttft or 0.0) * 1000,
        ttft is not None,
        written - 1 if timed else 0,
        (outcome.duration - (ttft or 0.0)) * 1000 if timed else 0.0,
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


def note_use(cursor: CursorWrapper, outcomes: Iterable[Outcome]) -> None:
    """Write when keys were last used."""
    last = {each.holder.id: each.ended_at for each in outcomes if each.holder is not None}
    quote = connection.ops.quote_name
    sql = f"UPDATE {quote(ApiKey._meta.db_table)} SET {quote('last_used_at')} = %s WHERE id = %s"  # noqa: S608
    cursor.executemany(sql, [(moment(at), key_id) for key_id, at in sorted(last.items())])
