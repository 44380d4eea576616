"""The dashboards, the fleet that they show, and what is measured: loaded once Django is set up."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import threading
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import psutil
import websockets
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client

from endpoints.choices import Status
from endpoints.health import health
from endpoints.health.findings import Finding, ProbeResult
from endpoints.models import Endpoint, EndpointHealth, EndpointModel
from ollaproject.wire import roles
from ollaproject.wire.clock import now

FLIP_SECONDS: Final = 4.0  # so often an endpoint goes down, or comes back
SETTLE_SECONDS: Final = 5.0
AT_ONCE: Final = 20  # sockets that are opened together


@dataclass(slots=True)
class Found:
    """Seconds after the change was stored; `cpu` in seconds of the web process over `seconds`."""

    told: list[float] = field(default_factory=list)
    shown: list[float] = field(default_factory=list)
    flips: int = 0
    messages: int = 0
    drawings: int = 0
    received_bytes: int = 0
    cpu: float = 0.0
    seconds: float = 0.0
    resident_bytes: int = 0
    machine: float = 0.0  # how busy it was, all of its cores together


@dataclass(slots=True)
class Flip:
    """The change that is under way: when it was stored, and how many endpoints are down since."""

    at: float = 0.0
    down: int = 0


def make(endpoints: int, people: int, *, interval: float) -> list[str]:
    """A fleet in which all is well, and people of two roles who look at it. Returns their cookies."""
    call_command("migrate", verbosity=0)
    at = now()
    for number in range(endpoints):
        row = Endpoint.objects.create(
            name=f"mini-{number}", url=f"http://mini-{number}.test:8000", check_interval_seconds=interval
        )
        EndpointHealth.objects.filter(pk=row.pk).update(
            status=Status.HEALTHY, since=at, checked_at=at, next_check_at=at + timedelta(days=1)
        )
        for name in ("mlx-community/Qwen3-8B-4bit", "mlx-community/Llama-3.2-3B-Instruct-4bit"):
            EndpointModel.objects.create(
                endpoint=row, name=name, created=0, first_seen_at=at, last_seen_at=at
            )
    return [cookie_of(number) for number in range(people)]


def cookie_of(number: int) -> str:
    """Every second person may press the buttons, and so sees another page."""
    user = User.objects.create_user(f"person-{number}")
    roles.grant(user, roles.OPERATOR if number % 2 else roles.VIEWER)
    client = Client()
    client.force_login(user)
    return "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())


class Checks:
    """Stores what checks find, as the worker does: each endpoint in its turn; now and then one flips."""

    def __init__(self, flip: Flip, found: Found) -> None:
        self._flip, self._found = flip, found
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        rows = list(Endpoint.objects.all())
        pause = rows[0].check_interval_seconds / len(rows)
        flipped_at = time.monotonic() + SETTLE_SECONDS
        for number in itertools.count():
            if self._stop.wait(pause):
                break
            row = rows[1 + number % (len(rows) - 1)]
            self._store(row, ProbeResult(Status.HEALTHY, http_status=200, latency_seconds=0.01))
            if time.monotonic() - flipped_at >= FLIP_SECONDS:
                flipped_at = time.monotonic()
                self._turn(rows[0])
        connection.close()

    def _turn(self, row: Endpoint) -> None:
        down = not self._flip.down
        if down:  # two bad checks: the first one is doubted
            self._store(row, ProbeResult(Status.OFFLINE, "connection refused"))
        result = ProbeResult(Status.OFFLINE, "connection refused") if down else ProbeResult(Status.HEALTHY)
        self._flip.down = int(down)
        self._store(row, result)
        self._flip.at = time.perf_counter()
        self._found.flips += 1

    @staticmethod
    def _store(row: Endpoint, result: ProbeResult) -> None:
        health.record(endpoint=row, finding=Finding(result), at=now())


class Dashboard:
    """One open page, as fleet.js behaves."""

    def __init__(self, flip: Flip, found: Found) -> None:
        self._flip, self.found = flip, found
        self._told_at = self._shown_at = 0.0

    async def run(self, url: str, cookie: str) -> None:
        address = url.replace("http", "ws") + "/ws/fleet/?lang=en&fleet=&calm="
        headers = {"Cookie": cookie, "Origin": url}
        # As browsers do, it sends no pings; it answers those of the server.
        async with websockets.connect(
            address, additional_headers=headers, open_timeout=60, ping_interval=None
        ) as socket:
            async for data in socket:
                self._hear(data)

    def _hear(self, data: str | bytes) -> None:
        found, flip = self.found, self._flip
        found.messages += 1
        found.received_bytes += len(data)
        message = json.loads(gzip.decompress(data) if isinstance(data, bytes) else data)
        if flip.at > self._told_at and message["down"] == flip.down:
            self._told_at = flip.at
            found.told.append(time.perf_counter() - flip.at)
        html = message.get("html")
        found.drawings += html is not None
        if html and flip.at > self._shown_at and f'data-down="{flip.down}"' in html[:200]:
            self._shown_at = flip.at
            found.shown.append(time.perf_counter() - flip.at)


async def watch(url: str, pid: int, *, cookies: list[str], seconds: int) -> Found:
    """Open a dashboard with each of the cookies, and measure once they are all there."""
    warm, found = Found(), Found()
    flip = Flip()
    pages = [Dashboard(flip, warm) for _ in cookies]
    tasks = []
    for number, (page, cookie) in enumerate(zip(pages, cookies, strict=True)):
        tasks.append(asyncio.create_task(page.run(url, cookie)))
        if number % AT_ONCE == AT_ONCE - 1:
            await asyncio.sleep(1)
    await asyncio.sleep(SETTLE_SECONDS)
    for page in pages:
        page.found = found
    process = psutil.Process(pid)
    before, started = process.cpu_times(), time.perf_counter()
    psutil.cpu_percent()
    with Checks(flip, found):
        await asyncio.sleep(seconds)
        after, ended = process.cpu_times(), time.perf_counter()
        found.cpu = (after.user + after.system) - (before.user + before.system)
        found.seconds, found.resident_bytes = ended - started, process.memory_info().rss
        found.machine = psutil.cpu_percent() / 100
    failed = [task for task in tasks if task.done()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if failed:
        raise SystemExit(f"{len(failed)} dashboards were cut off, one by {failed[0].exception()!r}.")
    return found


def report(found: Found, *, dashboards: int, endpoints: int) -> None:
    print(f"{dashboards} dashboards of {endpoints} endpoints for {found.seconds:.0f} s, {found.flips} flips")
    print(f"web process: {found.cpu / found.seconds:.0%} of one core, {found.resident_bytes / 1e6:.0f} MB")
    print(
        f"messages: {found.messages / found.seconds:.0f}/s, of them with a new drawing: "
        f"{found.drawings / found.seconds:.0f}/s; {found.received_bytes / found.seconds / 1000:.0f} kB/s"
    )
    for name, values in (("told", found.told), ("shown", found.shown)):
        ordered = sorted(values) or [float("nan")]
        half, most = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.95)]
        print(f"{name} after: {half:.2f} s half, {most:.2f} s 95 of 100, {ordered[-1]:.2f} s all")
    print(f"the machine was {found.machine:.0%} busy, {psutil.cpu_count()} cores together")
