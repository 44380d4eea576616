"""An admission desk with a router of its own, and requests as they come, for tests of the queue."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from endpoints.routing.strategies import RoundRobin
from proxy.request.paths import surface_for
from proxy.routing.admission import Admission
from proxy.routing.plan import Plan
from proxy.routing.routing import Question, Router

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.routing.admission import Slot

    Table = Callable[..., None]


NOWHERE = "http://127.0.0.1:9"


class Desk:
    """An admission desk, with a router of its own, and requests as they come."""

    def __init__(self, *, max_waiting: int = 100, max_wait: float = 5.0) -> None:
        self.router = Router(RoundRobin())
        self.admission = Admission(max_waiting=max_waiting, max_wait=max_wait)

    def plan(self, model: str | None = "m1", **how: Any) -> Plan:
        surface = surface_for("vllm-mlx")
        assert surface is not None
        return Plan(self.router, Question(surface, model), **how)

    async def enter(self, caller: str = "a", **how: Any) -> Slot:
        slot = await self.admission.enter(self.plan(**how), caller)
        assert slot is not None
        return slot

    async def line_up(self, caller: str = "a", **how: Any) -> asyncio.Task[Slot]:
        """A request that is in the queue when this returns."""
        task = asyncio.create_task(self.enter(caller, **how))
        await asyncio.sleep(0)
        return task

    def in_flight(self) -> dict[int, int]:
        return {number: load.in_flight for number, load in self.router.loads._by_id.items()}
