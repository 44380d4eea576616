"""The dashboards, the fleet that they show, and what is measured: loaded once Django is set up."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import httpx
import psutil
import websockets
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client

from endpoints import health
from endpoints.choices import Status
from endpoints.findings import Finding, ProbeResult
from endpoints.models import Endpoint, EndpointHealth, EndpointModel
from ollaproject.wire.clock import now

FLIP_SECONDS: Final = 4.0  # so often an endpoint goes down, or comes back
SETTLE_SECONDS: Final = 5.0
CALM_SECONDS: Final = (2.0, 5.0)  # what fleet.js waits when nothing but a check is new
AT_ONCE: Final = 20  # sockets that are opened together


@dataclass(slots=True)
class Found:
    """Seconds after the change was stored; `cpu` in seconds of the web process over `seconds`."""

    told: list[float] = field(default_factory=list)
    shown: list[float] = field(default_factory=list)
    flips: int = 0
    messages: int = 0
    fetches: int = 0
    unchanged: int = 0
    cpu: float = 0.0
    seconds: float = 0.0
    resident_bytes: int = 0


@dataclass(slots=True)
class Flip:
    """The change that is under way: when it was stored, and how many endpoints are down since."""

    at: float = 0.0
    down: int = 0


def make(endpoints: int, *, interval: float) -> str:
    """A fleet in which all is well, and somebody who looks at it. Returns their cookie."""
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
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
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

    def __init__(self, client: httpx.AsyncClient, flip: Flip, found: Found) -> None:
        self._client, self._flip, self._found = client, flip, found
        self._etag = ""
        self._soon: asyncio.Task[None] | None = None
        self._told_at = self._shown_at = 0.0

    async def run(self, url: str, cookie: str) -> None:
        address = url.replace("http", "ws") + "/ws/fleet/?calm"
        headers = {"Cookie": cookie, "Origin": url}
        async with websockets.connect(address, additional_headers=headers, open_timeout=60) as socket:
            await self._fetch()
            async for text in socket:
                await self._hear(json.loads(text))

    async def _hear(self, message: dict[str, object]) -> None:
        self._found.messages += 1
        flip = self._flip
        if flip.at > self._told_at and message["down"] == flip.down:
            self._told_at = flip.at
            self._found.told.append(time.perf_counter() - flip.at)
        if not message["changed"]:
            return
        if message["routing"]:
            await self._fetch()
        elif self._soon is None or self._soon.done():
            self._soon = asyncio.create_task(self._fetch_soon())

    async def _fetch_soon(self) -> None:
        await asyncio.sleep(random.uniform(*CALM_SECONDS))  # noqa: S311 - it spreads the load
        with suppress(httpx.TransportError):  # the measurement is over
            await self._fetch()

    async def _fetch(self) -> None:
        headers = {"If-None-Match": self._etag} if self._etag else {}
        response = await self._client.get("/endpoints/fleet/", headers=headers)
        self._found.fetches += 1
        self._found.unchanged += response.status_code == httpx.codes.NOT_MODIFIED
        self._etag = response.headers.get("ETag", self._etag)
        flip = self._flip
        if flip.at > self._shown_at and f'data-down="{flip.down}"' in response.text[:200]:
            self._shown_at = flip.at
            self._found.shown.append(time.perf_counter() - flip.at)


async def watch(url: str, pid: int, *, cookie: str, count: int, seconds: int) -> Found:
    """Open `count` dashboards, and measure once they are all there."""
    warm, found = Found(), Found()
    flip = Flip()
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    async with httpx.AsyncClient(
        base_url=url, headers={"Cookie": cookie}, limits=limits, timeout=60, trust_env=False
    ) as client:
        pages = [Dashboard(client, flip, warm) for _ in range(count)]
        tasks = []
        for number, page in enumerate(pages):
            tasks.append(asyncio.create_task(page.run(url, cookie)))
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(1)
        await asyncio.sleep(SETTLE_SECONDS)
        for page in pages:
            page._found = found
        process = psutil.Process(pid)
        before, started = process.cpu_times(), time.perf_counter()
        with Checks(flip, found):
            await asyncio.sleep(seconds)
            after, ended = process.cpu_times(), time.perf_counter()
            found.cpu = (after.user + after.system) - (before.user + before.system)
            found.seconds, found.resident_bytes = ended - started, process.memory_info().rss
        failed = [task for task in tasks if task.done() and not task.cancelled()]
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
        f"messages: {found.messages / found.seconds:.0f}/s, fetches: {found.fetches / found.seconds:.0f}/s, "
        f"of them not modified: {found.unchanged}"
    )
    for name, values in (("told", found.told), ("shown", found.shown)):
        ordered = sorted(values) or [float("nan")]
        half, most = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.95)]
        print(f"{name} after: {half:.2f} s half, {most:.2f} s 95 of 100, {ordered[-1]:.2f} s all")
