"""Requests as rows of the history: what stands in which column, and how many of them go in at once."""

from __future__ import annotations

from contextlib import closing
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from django.db import connection
from django.utils.crypto import salted_hmac

from proxy.models import LIMIT_LENGTH, NAME_LENGTH, ROUTE_LENGTH, Came, RequestRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from proxy.access.key_table import Holder
    from proxy.records.record import Outcome

    Row = tuple[Any, ...]

SQLITE = "sqlite"
UTC_OFFSET = "+00:00"
METHOD_LENGTH = 20
CALLER_LENGTH = 64
HASHED_LENGTH = 16
# What a row is made of, in the order in which `_row` has it.
OF_ITS_HOLDER = ("key_id", "key_name", "user_id", "user_name", "team_id", "team_name")
COLUMNS = (
    *("at", "request_id", "caller", "method", "route", "model", "endpoint", "status", "error_code"),
    *("client_left", "stream", "attempts", "ttft_ms", "duration_ms", "bytes_in", "bytes_out"),
    *("prompt_tokens", "completion_tokens", "cached_tokens", "served_model", "routing"),
    *("charged_tokens", "limited_by", "outcome", *OF_ITS_HOLDER),
)
NOT_COUNTED = (None, None, None)
NOBODY = (0, "", 0, "", 0, "")


def insert(outcomes: Sequence[Outcome], *, addresses: str) -> None:
    """Write a row for each. `addresses` is how much of the callers' is kept: `full`, `hashed` or `none`.

    This is not bulk_create: building models and their SQL costs 50 µs a row, and it competes with requests
    for one interpreter. Nor is it executemany, which gives that interpreter away and asks for it back once
    a row: a statement has as many rows as its parameters allow. It goes past Django's cursor, which for
    SQLite writes each statement anew: so the same few texts return, and the database has them prepared.
    """
    types = _types()  # asked for once: a connection is a thread's own, and to look it up takes 1 µs
    rows = [_row(outcome, addresses, types) for outcome in outcomes]
    size = (connection.features.max_query_params or len(rows) * len(COLUMNS)) // len(COLUMNS)
    with connection.wrap_database_errors, closing(connection.connection.cursor()) as cursor:
        for start in range(0, len(rows), size):
            some = rows[start : start + size]
            cursor.execute(_statement(connection.vendor, len(some)), list(chain.from_iterable(some)))


def keep_journals_in_memory() -> None:
    """Of statements; to be called outside of a transaction.

    SQLite writes each page that a statement of several rows is about to change to a file first, to take the
    statement back alone when it fails. Here the whole batch is taken back, and those files cost more than
    the rows themselves: three pages written for one that is kept.
    """
    if connection.vendor == SQLITE:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA temp_store = MEMORY")


def _row(outcome: Outcome, addresses: str, types: _Types) -> Row:
    tokens = outcome.tokens
    attempts = [
        [each.endpoint, each.reason, round(each.waited * 1000, 1), round(each.lasted * 1000, 1)]
        for each in outcome.attempts
    ]
    return (
        types.moment(outcome.ended_at),
        outcome.request_id,
        _caller(outcome.caller, addresses),
        outcome.method[:METHOD_LENGTH],
        outcome.route[:ROUTE_LENGTH],
        (outcome.model or "")[:NAME_LENGTH],
        (outcome.endpoint or "")[:NAME_LENGTH],
        outcome.status,
        outcome.error_code or "",
        types.flag(outcome.client_left),
        types.flag(outcome.stream),
        types.json(attempts),
        None if outcome.ttft is None else outcome.ttft * 1000,
        outcome.duration * 1000,
        outcome.bytes_in,
        outcome.bytes_out,
        *(NOT_COUNTED if tokens is None else (tokens.prompt, tokens.completion, tokens.cached)),
        (outcome.served_model or "")[:NAME_LENGTH],
        " ".join(outcome.routing or ()),
        outcome.charged,
        outcome.full.words[:LIMIT_LENGTH] if outcome.full else "",
        Came.of(outcome.status, outcome.error_code, client_left=outcome.client_left).value,
        *whose(outcome.holder),
    )


def whose(holder: Holder | None) -> tuple[int, str, int, str, int, str]:
    """The columns OF_ITS_HOLDER."""
    if holder is None:
        return NOBODY
    team = holder.team
    return (
        *(holder.id, holder.name, holder.user_id, holder.user),
        *((team.id, team.name) if team else (0, "")),
    )


def moment(at: datetime) -> Any:
    """A moment (UTC) as the database has it."""
    return _types().moment(at)


class _Types(NamedTuple):
    """How the database takes what it has no type of its own for."""

    moment: Callable[[datetime], Any]
    json: Callable[[Any], Any]
    flag: Callable[[bool], Any]


def _types() -> _Types:
    """For SQLite these are not Django's own, which take 4 µs a row: they ask settings for time zones, make a
    JSON encoder each time, and leave it to the driver to find out that a bool is a number.
    """
    if connection.vendor == SQLITE:
        return _Types(_text_of_moment, _text_of_json, int)
    adapt = connection.ops
    return _Types(adapt.adapt_datetimefield_value, lambda value: adapt.adapt_json_value(value, None), bool)


def _text_of_moment(at: datetime) -> str:
    return at.isoformat(" ").removesuffix(UTC_OFFSET)


def _text_of_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _caller(address: str, addresses: str) -> str:
    if addresses == "full":
        return address[:CALLER_LENGTH]
    if addresses == "hashed" and address:
        return _hashed(address)
    return ""


@lru_cache(maxsize=1024)
def _hashed(address: str) -> str:
    return salted_hmac("request-history", address).hexdigest()[:HASHED_LENGTH]


@lru_cache(maxsize=500)
def _statement(vendor: str, rows: int) -> str:
    """The text that inserts so many rows."""
    quote = connection.ops.quote_name
    row = f"({', '.join(['?' if vendor == SQLITE else '%s'] * len(COLUMNS))})"
    columns = ", ".join(map(quote, COLUMNS))
    table = quote(RequestRecord._meta.db_table)
    return f"INSERT INTO {table} ({columns}) VALUES {', '.join([row] * rows)}"  # noqa: S608 - names of our own
