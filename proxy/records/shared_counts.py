"""Adds what this process counts to what all have counted, in the database, and reads that.

Every process hands in differences, a second after something happened: so the sums are the same whichever
process answers, go on after a restart, and lose no more than that second when one is killed. What is true
only now (requests under way) stands in a row of each process, and counts while that is seen to live.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import socket
import threading
import uuid
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, TypedDict

import msgspec
from django.db import DatabaseError, InterfaceError, close_old_connections, connection, transaction

from ollaproject.wire import clock
from proxy.models import TrafficTotal, WebProcess
from proxy.records.counts import Counts, EndpointCounts, add

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

logger = logging.getLogger(__name__)

WRITE_INTERVAL_SECONDS = 1.0
HEARTBEAT_SECONDS = 5.0
LIVES = timedelta(seconds=20)  # a process that was not seen for so long is gone

_decode = msgspec.json.Decoder(Counts).decode
_encode = msgspec.json.Encoder().encode
_started: list[SharedCounts] = []


class Guest(TypedDict):
    """A request that is at an endpoint now: whose key, of which person, for which model, since when."""

    endpoint: int
    key: str
    user: str
    model: str
    since: float


@dataclass(frozen=True, slots=True)
class Present:
    """What is true of one process now: requests under way by endpoint, requests in the queue, how many
    addresses it would refuse, whose requests are at which endpoint (of the first of them), and how many
    sticky sessions it alone knows.
    """

    in_flight: dict[str, int] = field(default_factory=dict)
    waiting: int = 0
    blocked: int = 0
    guests: list[Guest] = field(default_factory=list)
    sessions: int = 0

    @property
    def is_busy(self) -> bool:
        """Whether something of it ends soon, as sessions do not."""
        return replace(self, sessions=0) != Present()


@dataclass(frozen=True, slots=True)
class Traffic:
    """What was counted, and what is under way: of all processes that share it, or of one alone."""

    counts: Counts
    in_flight: dict[str, int]
    waiting: int
    blocked: int
    started_at: datetime
    processes: int
    guests: list[Guest] = field(default_factory=list)
    sessions: int = 0

    def of(self, endpoint_id: int) -> EndpointCounts:
        """The counts of an endpoint, all zero when it has had no request."""
        return self.counts.endpoints.get(str(endpoint_id)) or EndpointCounts()

    def in_flight_at(self, endpoint_id: int) -> int:
        return self.in_flight.get(str(endpoint_id), 0)


@atexit.register  # Daphne has no lifespan protocol
def stop_sharing() -> None:
    """Hand in what this process still has, and take its row away. At its end."""
    while _started:
        _started.pop().stop()


class SharedCounts:
    """One process's part. `take` gives what it has counted since the last time, `present` what is under way.

    Both are called in the event loop's thread, as is everything here but `read` and the thread's own.
    """

    def __init__(
        self, take: Callable[[], Counts], present: Callable[[], Present], *, in_database: bool
    ) -> None:
        self._in_database = in_database
        self._take = take
        self._present = present
        self._id = uuid.uuid4().hex
        self._started_at = clock.now()
        self._lock = threading.Lock()  # for a moment: the event loop takes it, too
        self._writing = threading.Lock()  # for as long as the database takes, so by threads alone
        self._unsent = Counts()
        self._being_sent = Counts()
        self._now = Present()
        self._handed_in: Counts | None = None  # what all had handed in, when the database was last asked
        self._due = threading.Event()
        self._stopping = False
        self._scheduled = False
        self._looks_again = False
        self._failing = False
        self._thread: threading.Thread | None = None

    def touch(self) -> None:
        """Something happened: hand it in soon."""
        if self._in_database and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_later(WRITE_INTERVAL_SECONDS, self._hand_over)

    def start(self) -> None:
        """Let the other processes know of this one."""
        if self._in_database and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="shared-counts", daemon=True)
            self._thread.start()
            _started.append(self)

    def gather(self) -> None:
        """Put what was counted until now where `read` finds it."""
        taken, present = self._take(), self._present()
        with self._lock:
            add(self._unsent, taken)
            self._now = present

    def read(self) -> Traffic:
        """Everything, as of now. From any thread but the event loop's; with the database away, what is known.

        Call `gather` before. Raises DatabaseError and InterfaceError when this process has never got at the
        database: then it knows of nobody but itself, and zero would be wrong.
        """
        if not self._in_database:
            return self._without_database()
        try:
            return self._read(self._write())
        except (DatabaseError, InterfaceError) as error:
            self._note_failure(error)
            if self._handed_in is None:
                raise
            return self._without_database()

    def stop(self) -> None:
        """From any thread, when nothing is counted any more. What the last second has counted goes along."""
        self.gather()
        self._stopping = True
        self._due.set()
        if self._thread is not None:
            self._thread.join()

    def _hand_over(self) -> None:
        self._scheduled = False
        self.gather()
        self.start()
        self._due.set()
        if self._now.is_busy:
            self.touch()  # what is under way ends sometime, or waits in the queue
        elif self._now.sessions and not self._looks_again:
            self._looks_again = True
            asyncio.get_running_loop().call_later(HEARTBEAT_SECONDS, self._look_again)

    def _look_again(self) -> None:
        """Sessions end by themselves, without a request."""
        self._looks_again = False
        self.touch()

    def _run(self) -> None:
        while not self._stopping:
            try:
                close_old_connections()
                self._write()
            except (DatabaseError, InterfaceError) as error:
                self._note_failure(error)
            self._due.wait(HEARTBEAT_SECONDS)
            self._due.clear()
        self._end()
        connection.close()

    def _end(self) -> None:
        self._now = Present()
        try:
            self._write()
            WebProcess.objects.filter(pk=self._id).delete()
        except (DatabaseError, InterfaceError) as error:
            self._note_failure(error)

    def _note_failure(self, error: Exception) -> None:
        connection.close()
        if not self._failing:
            logger.error("What was counted cannot be written, it waits: %s", error)
        self._failing = True

    def _write(self) -> Counts:
        """Hand in what was counted. Gives what all have handed in until now."""
        with self._writing:
            with self._lock:
                newly, now = self._unsent, self._now
                self._unsent, self._being_sent = Counts(), newly
            try:
                with transaction.atomic():
                    total = _add_to_stored(newly)
                    self._tell_of_us(now)
            except BaseException:
                with self._lock:
                    add(self._unsent, newly)
                    self._being_sent = Counts()
                raise
            with self._lock:
                self._handed_in, self._being_sent = total, Counts()
        self._failing = False
        return total

    def _tell_of_us(self, now: Present) -> None:
        seen = {"seen_at": clock.now(), **asdict(now)}
        if WebProcess.objects.filter(pk=self._id).update(**seen):
            return
        WebProcess.objects.filter(seen_at__lt=clock.now() - LIVES).delete()
        WebProcess.objects.create(
            id=self._id, host=socket.gethostname()[:100], pid=os.getpid(), started_at=self._started_at, **seen
        )

    def _read(self, counts: Counts) -> Traffic:
        processes = living(clock.now())
        return Traffic(
            counts=counts,
            **asdict(_together(processes)),
            started_at=min((process.started_at for process in processes), default=self._started_at),
            processes=len(processes),
        )

    def _without_database(self) -> Traffic:
        counts = Counts()
        with self._lock:
            for each in (self._handed_in or Counts(), self._being_sent, self._unsent):
                add(counts, each)
            now = self._now
        return Traffic(counts, **asdict(now), started_at=self._started_at, processes=1)


def present(at: datetime) -> Present:
    """What is under way in all processes that live at that time. One query, from any thread."""
    return _together(living(at))


def living(at: datetime) -> list[WebProcess]:
    """The web processes that were seen of late, at that time. One query, from any thread."""
    return list(WebProcess.objects.filter(seen_at__gte=at - LIVES))


def _together(processes: list[WebProcess]) -> Present:
    in_flight: dict[str, int] = {}
    for process in processes:
        for number, count in process.in_flight.items():
            in_flight[number] = in_flight.get(number, 0) + count
    return Present(
        in_flight=in_flight,
        waiting=sum(process.waiting for process in processes),
        blocked=max((process.blocked for process in processes), default=0),
        guests=[guest for process in processes for guest in process.guests],
        sessions=sum(process.sessions for process in processes),
    )


def _add_to_stored(newly: Counts) -> Counts:
    """Within a transaction. Gives the sum."""
    rows = TrafficTotal.objects.filter(pk=TrafficTotal.SINGLETON).values_list("counts", flat=True)
    if newly == Counts(since=newly.since):
        return _counts_in(rows.first())
    if (text := rows.select_for_update().first()) is None:
        # Another process may be about to make the row as well: this waits for it, and goes on from there.
        TrafficTotal.objects.bulk_create([TrafficTotal(counts="")], ignore_conflicts=True)
        text = rows.select_for_update().first()
    total = _counts_in(text)
    add(total, newly)
    rows.update(counts=_encode(total).decode())
    return total


def _counts_in(text: str | None) -> Counts:
    return _decode(text) if text else Counts()
