"""Rows of requests and the totals of their days, written in batches by a thread of their own.

A request's path only appends to a list.

When the database is down the rows wait, up to a bound. What is lost beyond that is counted and logged.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    connection,
    transaction,
)
from msgspec.structs import replace

from proxy.limits import budget_notices
from proxy.records import history_rows, kept_bodies, totals

if TYPE_CHECKING:
    from proxy.models import BudgetReached
    from proxy.records.record import Outcome

logger = logging.getLogger(__name__)

WRITE_INTERVAL_SECONDS = 1.0
BATCH_ROWS = 500
MAX_WAITING_ROWS = 20_000
MAX_WAITING_BODIES = 500
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
        most = BATCH_ROWS
        while self._waiting:
            batch = list(islice(self._waiting, most))
            reached: list[BudgetReached] = []
            try:
                reached = self._store(batch)
            except UNWRITABLE as error:
                if len(batch) > 1:
                    most = len(batch) // 2  # until the row at fault is alone
                    continue
                self._lost += 1
                logger.error("A row of the request history cannot be stored: %s", error)
            except (DatabaseError, InterfaceError) as error:
                connection.close()
                if self._connected:  # from the time before: the database may be there all the same
                    self._connected = False
                    continue
                self._note_failure(error)
                return
            else:
                most = min(2 * most, BATCH_ROWS)
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
        history_rows.keep_journals_in_memory()
        with transaction.atomic(), connection.cursor() as cursor:
            if self._rows:
                history_rows.insert(batch, addresses=self._addresses)
                kept_bodies.store(outcome for outcome in batch if outcome.bodies is not None)
            totals.add(cursor, batch)
            totals.note_use(cursor, batch)
            return budget_notices.write(batch)
