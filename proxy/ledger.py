"""Rows of requests and the totals of their days, written in batches by a thread of their own.

A request's path only appends to a list.

When the database is down the rows wait, up to a bound. What is lost beyond that is counted and logged.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections import deque
from contextlib import closing
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec
from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    connection,
    transaction,
)
from django.utils.crypto import salted_hmac
from msgspec.structs import replace

from proxy import budget_notices, kept_bodies, totals
from proxy.models import LIMIT_LENGTH, NAME_LENGTH, ROUTE_LENGTH, Came, RequestRecord

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.backends.base.operations import BaseDatabaseOperations

    from proxy.key_table import Holder
    from proxy.models import BudgetReached
    from proxy.record import Outcome

logger = logging.getLogger(__name__)

WRITE_INTERVAL_SECONDS = 1.0
BATCH_ROWS = 500
MAX_WAITING_ROWS = 20_000
MAX_WAITING_BODIES = 500
SQLITE = "sqlite"
HASHED_LENGTH = 16
NOBODY: dict[str, Any] = {
    "key_id": 0,
    "user_id": 0,
    "team_id": 0,
    "key_name": "",
    "user_name": "",
    "team_name": "",
}
# The rows themselves are at fault: to try them again would hold up all others for ever.
UNWRITABLE = (DataError, IntegrityError, ValueError, OverflowError)

_started: list[Ledger] = []


@atexit.register  # Daphne has no lifespan protocol
def stop_writers() -> None:
    """Write what waits in this process, and end."""
    while _started:
        _started.pop().stop()


class Ledger:
    """The writer of one process. `addresses`: `full`, `hashed` or `none`. Without `rows`, of totals only."""

    def __init__(
        self,
        *,
        addresses: str,
        rows: bool = True,
        max_waiting: int = MAX_WAITING_ROWS,
        interval: float = WRITE_INTERVAL_SECONDS,
    ) -> None:
        self._addresses = addresses
        self._rows = rows
        self._max_waiting = max_waiting
        self._interval = interval
        self._waiting: deque[Outcome] = deque()
        self._lost = 0
        self._down = False
        self._connected = False
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """How many rows are not written yet."""
        return len(self._waiting)

    @property
    def lost(self) -> int:
        """How many rows there was no room for, since the process started."""
        return self._lost

    def add(self, outcome: Outcome) -> None:
        """From the event loop's thread. Returns at once."""
        if self._thread is None:
            self._start()
        if len(self._waiting) >= self._max_waiting:
            self._lost += 1
            return
        if outcome.bodies is not None and len(self._waiting) >= MAX_WAITING_BODIES:
            outcome = replace(outcome, bodies=None)  # its row is worth more than what it holds
        self._waiting.append(outcome)

    def stop(self) -> None:
        """Write what waits, and end. Nothing is added afterwards."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="request-history", daemon=True)
        self._thread.start()
        _started.append(self)

    def _run(self) -> None:
        said = 0
        while True:
            stopping = self._stopped.wait(self._interval)
            self._write_all()
            if self._lost > said:
                logger.error("The request history has lost %s rows.", self._lost - said)
                said = self._lost
            if stopping:
                connection.close()
                return

    def _write_all(self) -> None:
        while self._waiting:
            batch = list(islice(self._waiting, BATCH_ROWS))
            reached: list[BudgetReached] = []
            try:
                reached = self._store(batch)
            except UNWRITABLE as error:
                self._lost += len(batch)
                logger.error("%s rows of the request history cannot be stored: %s", len(batch), error)
            except (DatabaseError, InterfaceError) as error:
                connection.close()
                if self._connected:  # from the time before: the database may be there all the same
                    self._connected = False
                    continue
                self._note_failure(error)
                return
            self._connected = True
            budget_notices.announce(reached)
            for _ in batch:
                self._waiting.popleft()
            self._down = False

    def _note_failure(self, error: Exception) -> None:
        if not self._down:
            logger.error("The request history cannot be written, its rows wait: %s", error)
        self._down = True

    def _store(self, batch: list[Outcome]) -> list[BudgetReached]:
        """Write a batch and its part in the totals, all or nothing. Gives the budgets that it used up."""
        adapt = connection.ops  # looked up once: it is a thread's own, and that lookup takes 1 µs
        rows = [(outcome.ended_at, self._row(outcome, adapt)) for outcome in batch]
        with transaction.atomic(), connection.cursor() as cursor:
            if self._rows:
                _insert([row for _, row in rows])
                kept_bodies.store(outcome for outcome in batch if outcome.bodies is not None)
            totals.add(cursor, rows)
            totals.note_use(cursor, {row["key_id"]: row["at"] for _, row in rows if row["key_id"]})
            return budget_notices.write(batch)

    def _row(self, outcome: Outcome, adapt: BaseDatabaseOperations) -> dict[str, Any]:
        tokens = outcome.tokens
        attempts = [
            [each.endpoint, each.reason, round(each.waited * 1000, 1), round(each.lasted * 1000, 1)]
            for each in outcome.attempts
        ]
        return {
            "at": _moment(outcome.ended_at, adapt),
            "request_id": outcome.request_id,
            "caller": self._caller(outcome.caller),
            "method": outcome.method[:20],
            "route": outcome.route[:ROUTE_LENGTH],
            "model": (outcome.model or "")[:NAME_LENGTH],
            "endpoint": (outcome.endpoint or "")[:NAME_LENGTH],
            "status": outcome.status,
            "error_code": outcome.error_code or "",
            "client_left": outcome.client_left,
            "stream": outcome.stream,
            "attempts": _json(attempts, adapt),
            "ttft_ms": None if outcome.ttft is None else outcome.ttft * 1000,
            "duration_ms": outcome.duration * 1000,
            "bytes_in": outcome.bytes_in,
            "bytes_out": outcome.bytes_out,
            "prompt_tokens": tokens.prompt if tokens else None,
            "completion_tokens": tokens.completion if tokens else None,
            "cached_tokens": tokens.cached if tokens else None,
            "served_model": (outcome.served_model or "")[:NAME_LENGTH],
            "routing": " ".join(outcome.routing or ()),
            "charged_tokens": outcome.charged,
            "limited_by": outcome.full.words[:LIMIT_LENGTH] if outcome.full else "",
            "outcome": Came.of(outcome.status, outcome.error_code, client_left=outcome.client_left),
            **_whose(outcome.holder),
        }

    def _caller(self, address: str) -> str:
        if self._addresses == "full":
            return address[:64]
        if self._addresses == "hashed" and address:
            return _hashed(address)
        return ""


# Django's own two take 4 µs a row: they ask settings for time zones and make a JSON encoder each time. What
# SQLite stores is text in both cases.


def _moment(at: datetime, adapt: BaseDatabaseOperations) -> Any:
    if adapt.connection.vendor == SQLITE:
        return str(at.replace(tzinfo=None))
    return adapt.adapt_datetimefield_value(at)


def _json(value: Any, adapt: BaseDatabaseOperations) -> Any:
    if adapt.connection.vendor == SQLITE:
        return msgspec.json.encode(value).decode()
    return adapt.adapt_json_value(value, None)


def _whose(holder: Holder | None) -> dict[str, Any]:
    if holder is None:
        return NOBODY
    team = holder.team
    return {
        "key_id": holder.id,
        "key_name": holder.name,
        "user_id": holder.user_id,
        "user_name": holder.user,
        "team_id": team.id if team else 0,
        "team_name": team.name if team else "",
    }


@lru_cache(maxsize=1024)
def _hashed(address: str) -> str:
    return salted_hmac("request-history", address).hexdigest()[:HASHED_LENGTH]


def _insert(rows: list[dict[str, Any]]) -> None:
    """Write rows that have the database's own types.

    This is not bulk_create: building models and their SQL costs 50 µs a row, and it competes with requests
    for one interpreter. Nor is it executemany, which gives that interpreter away and asks for it back once
    a row: a statement has as many rows as its parameters allow. It goes past Django's cursor, which for
    SQLite writes each statement anew: so the same few texts return, and the database has them prepared.
    """
    names = _columns()
    size = (connection.features.max_query_params or BATCH_ROWS * len(names)) // len(names)
    with connection.wrap_database_errors, closing(connection.connection.cursor()) as cursor:
        for start in range(0, len(rows), size):
            some = rows[start : start + size]
            cursor.execute(
                _statement(connection.vendor, len(some)), [row[name] for row in some for name in names]
            )


@lru_cache(maxsize=1)
def _columns() -> tuple[str, ...]:
    fields = RequestRecord._meta.concrete_fields
    return tuple(field.attname for field in fields if not field.primary_key)


@lru_cache(maxsize=BATCH_ROWS)
def _statement(vendor: str, rows: int) -> str:
    """The text that inserts so many rows."""
    quote, names = connection.ops.quote_name, _columns()
    row = f"({', '.join(['?' if vendor == SQLITE else '%s'] * len(names))})"
    columns = ", ".join(map(quote, names))
    table = quote(RequestRecord._meta.db_table)
    return f"INSERT INTO {table} ({columns}) VALUES {', '.join([row] * rows)}"  # noqa: S608 - names of our own
