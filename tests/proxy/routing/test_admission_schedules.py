"""Seeded schedules of arrivals, departures and endpoints that come and go: nobody is lost or overloaded."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

from endpoints.choices import Status
from endpoints.routing.strategies import STRATEGIES
from ollaproject.wire.openai_errors import ApiError
from proxy.request.paths import surface_for
from proxy.routing.admission import Admission
from proxy.routing.plan import Plan
from proxy.routing.routing import Question, Router
from tests.proxy.conftest import target_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from endpoints.routing.snapshot import Target

    Table = Callable[..., None]

STEPS = 400
ENDPOINTS = 4


class Schedule:
    """One run. Everything that happens is drawn from the seed."""

    def __init__(self, seed: int, table: Table) -> None:
        self.draw = Random(seed)  # noqa: S311 - a schedule that can be run again
        self.table = table
        self.router = Router(STRATEGIES[self.draw.choice(list(STRATEGIES))]())
        self.admission = Admission(max_waiting=15, max_wait=60.0)
        self.limits = {number: self.draw.randint(1, 3) for number in range(1, ENDPOINTS + 1)}
        self.down: set[int] = set()
        self.requests: list[asyncio.Task[None]] = []
        self.done: dict[int, asyncio.Event] = {}
        self.ends: Counter[str] = Counter()
        self.most: Counter[int] = Counter()

    def install(self) -> None:
        self.table(*(self.target(number) for number in self.limits))

    def target(self, number: int) -> Target:
        return target_for(
            "http://127.0.0.1:9",
            number=number,
            priority=85 + number % 2,
            max_concurrent=self.limits[number],
            status=Status.OFFLINE if number in self.down else Status.HEALTHY,
        )

    async def request(self, number: int, caller: str) -> None:
        end = self.done[number] = asyncio.Event()
        surface = surface_for("vllm-mlx")
        assert surface is not None
        try:
            slot = await self.admission.enter(Plan(self.router, Question(surface, "m1")), caller)
        except ApiError as refusal:
            self.ends[str(refusal.code)] += 1
            return
        except asyncio.CancelledError:
            self.ends["left the queue"] += 1
            raise
        assert slot is not None
        running = slot.candidate.load.in_flight
        self.most[slot.target.id] = max(self.most[slot.target.id], running)
        try:
            await end.wait()
            self.ends["served"] += 1
        except asyncio.CancelledError:
            self.ends["left the answer"] += 1
            raise
        finally:
            slot.leave(0.01)

    async def run(self) -> None:
        self.install()
        for number in range(STEPS):
            self.step(number)
            for _ in range(self.draw.randrange(3)):
                await asyncio.sleep(0)
        self.down.clear()
        self.install()
        while not all(task.done() for task in self.requests):
            for end in self.done.values():
                end.set()
            await asyncio.sleep(0.01)
        await asyncio.gather(*self.requests, return_exceptions=True)

    def step(self, number: int) -> None:
        match self.draw.choice(["arrive", "arrive", "arrive", "end", "end", "leave", "flip"]):
            case "arrive":
                caller = self.draw.choice("abc")
                self.requests.append(asyncio.create_task(self.request(number, caller)))
            case "end" if self.done:
                self.done.pop(self.draw.choice(list(self.done))).set()
            case "leave" if self.requests:
                self.draw.choice(self.requests).cancel()
            case "flip":
                self.down ^= {self.draw.randint(1, ENDPOINTS)}
                self.install()


async def test_every_request_ends_once_and_no_endpoint_gets_too_many(
    schedule_seed: int, table: Table
) -> None:
    schedule = Schedule(schedule_seed, table)

    await asyncio.wait_for(schedule.run(), 20)

    never_begun = sum(task.cancelled() for task in schedule.requests) - sum(
        schedule.ends[how] for how in ("left the queue", "left the answer")
    )
    assert schedule.ends.total() + never_begun == len(schedule.requests)
    assert schedule.ends["served"] > 0
    assert schedule.admission.waiting == 0
    assert all(schedule.most[number] <= limit for number, limit in schedule.limits.items())
    assert all(schedule.router.loads.of(number).in_flight == 0 for number in schedule.limits)
