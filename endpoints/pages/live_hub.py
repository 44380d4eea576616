"""What is said to all open pages of this process: put together once for all of them, in rounds.

A round is one hop to a thread of its own, so that no slow page delays it. There it asks who may still look,
draws the fleet once for each kind of reader, and packs each message once, for however many it is the same.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from django.db import DatabaseError, connection

from endpoints.pages import fleet_view
from endpoints.pages.onlookers import Proofs, people
from endpoints.pages.overview import needs_attention
from endpoints.routing import watch
from endpoints.routing.snapshot import snapshot
from endpoints.routing.watch import Change
from ollaproject.wire.clock import now
from ollaproject.wire.roles import sees_fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from django.contrib.auth.models import User

    from endpoints.pages.filters import Filter
    from endpoints.pages.fleet_view import Drawing, State

    Figures = Callable[[], Mapping[str, Any]]

logger = logging.getLogger(__name__)

SHORTEST_PAUSE_SECONDS: Final = 0.5
# A round is followed by a pause of so many times the CPU that it took: the gateway's work goes first.
REST: Final = 3.0
# A page that has heard nothing for three of these says that it is stale.
HEARTBEAT_SECONDS: Final = 2.0
# What is larger is sent compressed, which is done once and not by each connection.
PLAIN_BYTES: Final = 1000
COMPRESSION: Final = 4

Frame = str | bytes


@dataclass(frozen=True, slots=True)
class View:
    """What a page wants drawn for it."""

    chosen: Filter
    language: str


@dataclass(eq=False, slots=True)
class Seat:
    """One open page: what it was told last, and the message that is on its way."""

    session_key: str | None
    calm: bool = True
    view: View | None = None
    hidden: bool = False
    told: Change | None = None
    shown: str = ""
    dismissed: bool = False
    frame: Frame | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_free(self) -> bool:
        """Whether its last message has gone out. A slow page gets the newest instead of all."""
        return not self.ready.is_set()


@dataclass(frozen=True, slots=True)
class Said:
    """What a round has for a page. `frame` is None for whoever may not look any more."""

    seat: Seat
    frame: Frame | None
    etag: str


class Hub:
    """The open pages of this process. It watches the fleet while there are any."""

    def __init__(self, figures: Figures | None = None) -> None:
        self._figures = figures
        self._seats: set[Seat] = set()
        self._task: asyncio.Task[None] | None = None
        self._changed, self._urgent = asyncio.Event(), asyncio.Event()
        self._now = Change(0, 0)
        self._failing = False

    def join(self, seat: Seat) -> None:
        """It gets its first message at once, if it may have any."""
        seat.told = self._now if self._seats else watch.seen()
        self._seats.add(seat)
        self._urgent.set()
        if self._task is None or self._task.done():
            self._changed, self._urgent = asyncio.Event(), asyncio.Event()
            self._task = asyncio.create_task(self._run())

    def leave(self, seat: Seat) -> None:
        self._seats.discard(seat)
        if not self._seats and self._task is not None:
            self._task.cancel()
            self._task = None

    def look(self, seat: Seat, *, hidden: bool) -> None:
        """Whether somebody looks at the page: one in the background is told in words only."""
        seat.hidden = hidden
        if not hidden:
            self._urgent.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(1, thread_name_prefix="open-pages")

        def wake(change: Change) -> None:
            # Called in the watcher's thread. A loop that is gone needs no waking.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._hear, change)

        watch.start()
        unsubscribe = watch.subscribe(wake)
        self._now = watch.seen() or self._now
        everybody, proofs = True, Proofs()
        try:
            while True:
                took = await self._round(thread, proofs, everybody=everybody)
                await asyncio.sleep(max(SHORTEST_PAUSE_SECONDS, REST * took))
                everybody = await self._wait()
        finally:
            unsubscribe()
            thread.submit(connection.close)
            thread.shutdown(wait=False)

    def _hear(self, change: Change) -> None:
        if change.routing != self._now.routing:
            self._urgent.set()
        self._now = change
        self._changed.set()

    async def _wait(self) -> bool:
        """Whether everybody is due, or only those who want to hear of each check of a large fleet."""
        restless = any(not seat.calm for seat in self._seats)
        due = True
        with suppress(TimeoutError):
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                await (self._changed if restless else self._urgent).wait()
                due = self._urgent.is_set()
        self._changed.clear()
        if due:
            self._urgent.clear()
        return due

    async def _round(self, thread: ThreadPoolExecutor, proofs: Proofs, *, everybody: bool) -> float:
        """Returns how many seconds of CPU it took."""
        seats = [seat for seat in self._seats if seat.is_free and (everybody or not seat.calm)]
        if not seats:
            return 0.0
        change = self._now
        compose = partial(self._compose, seats, change, proofs)
        try:
            said, took = await asyncio.get_running_loop().run_in_executor(thread, compose)
        except Exception as error:
            # Without a heartbeat the pages say by themselves that they are stale.
            if not self._failing:
                unforeseen = not isinstance(error, DatabaseError)
                logger.warning(
                    "Open pages are not updated for now, it is tried again: %r", error, exc_info=unforeseen
                )
            self._failing = True
            return 0.0
        self._failing = False
        began = time.thread_time()
        for each in said:
            hand_over(each, change)
        await asyncio.sleep(0)  # they are written meanwhile
        return took + time.thread_time() - began

    def _compose(self, seats: Sequence[Seat], change: Change, proofs: Proofs) -> tuple[list[Said], float]:
        """In the thread. What each of these is told of `change`, and the CPU that it took."""
        began = time.thread_time()
        try:
            there = people({seat.session_key for seat in seats if seat.session_key}, proofs)
            figures = {} if self._figures is None else {"figures": self._figures()}
            letters = Letters({"at": now().isoformat(), "down": count_down()} | figures, change)
            said = [letters.to(seat, there.get(seat.session_key or "")) for seat in seats]
            return said, time.thread_time() - began
        except DatabaseError:
            connection.close()
            raise


class Letters:
    """The messages of one round: each drawing and each frame is made once, however many get it."""

    def __init__(self, base: Mapping[str, Any], change: Change) -> None:
        self._base, self._change = base, change
        self._state: State | None = None
        self._drawn: dict[tuple[int, View], Drawing] = {}
        self._frames: dict[tuple[bool, bool, str], Frame] = {}

    def to(self, seat: Seat, user: User | None) -> Said:
        if user is None or not sees_fleet(user):
            return Said(seat, None, "")
        drawing = self._drawing(user, seat.view) if seat.view and not seat.hidden else None
        if drawing is not None and drawing.etag == seat.shown:
            drawing = None
        told = seat.told
        changed, routing = told != self._change, told is None or told.routing != self._change.routing
        key = changed, routing, drawing.html if drawing else ""
        if (frame := self._frames.get(key)) is None:
            message = {"changed": changed, "routing": routing, **self._base}
            frame = self._frames[key] = packed(message | {"html": drawing.html} if drawing else message)
        return Said(seat, frame, drawing.etag if drawing else "")

    def _drawing(self, user: User, view: View) -> Drawing:
        if self._state is None:
            self._state = fleet_view.state()
        if (drawing := self._drawn.get((user.pk, view))) is None:
            reader = fleet_view.reader_of(user, view.language)
            drawing = fleet_view.current(reader, view.chosen, self._state)
            self._drawn[user.pk, view] = drawing
        return drawing


def hand_over(said: Said, change: Change) -> None:
    seat = said.seat
    seat.dismissed, seat.frame = said.frame is None, said.frame
    seat.told, seat.shown = change, said.etag or seat.shown
    seat.ready.set()


def packed(message: Mapping[str, Any]) -> Frame:
    """As text, or as gzip where that is worth it."""
    text = json.dumps(message)
    return text if len(text) < PLAIN_BYTES else gzip.compress(text.encode(), COMPRESSION, mtime=0)


def count_down() -> int:
    """How many endpoints ought to serve and do not, from the routing table in memory."""
    return sum(needs_attention(target.mode, target.status) for target in snapshot().targets)
