"""No endpoint gets more than it takes at once, and whoever waits is treated fairly and told the truth."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from endpoints.choices import Status
from endpoints.strategies import RoundRobin
from ollaproject.wire.openai_errors import ApiError
from proxy.admission import Admission
from proxy.paths import surface_for
from proxy.plan import Plan
from proxy.routing import Question, Router
from tests.fakes import answers
from tests.proxy.conftest import CHAT, chat_body, gateway_with, target_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.admission import Slot
    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

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


async def test_while_there_is_room_nobody_waits(table: Table) -> None:
    table(target_for(NOWHERE, max_concurrent=2))
    desk = Desk()

    entering = desk.admission.enter(desk.plan(), "a")
    with pytest.raises(StopIteration) as done:  # it ends without giving way to anyone once
        entering.send(None)

    assert done.value.value.target.name == "mini-1"
    assert desk.in_flight() == {1: 1}


async def test_a_lower_tier_serves_only_when_the_higher_is_full(table: Table) -> None:
    table(
        target_for(NOWHERE, number=1, priority=90, max_concurrent=2),
        target_for(NOWHERE, number=2, priority=80, max_concurrent=1),
    )
    desk = Desk()

    slots = [await desk.enter() for _ in range(3)]

    assert [slot.target.id for slot in slots] == [1, 1, 2]
    slots[0].leave()
    assert (await desk.enter()).target.id == 1


async def test_a_freed_place_goes_to_the_one_in_line_before_anyone_new(table: Table) -> None:
    table(target_for(NOWHERE, max_concurrent=1))
    desk = Desk()
    slot = await desk.enter()
    waiting = await desk.line_up()
    assert not waiting.done()

    slot.leave(0.1)
    newcomer = await desk.line_up("b")

    assert (await waiting).target.id == 1
    assert not newcomer.done()
    assert desk.in_flight() == {1: 1}
    (await waiting).leave()
    await newcomer


async def test_callers_take_turns_however_much_one_has_lined_up(table: Table) -> None:
    table(target_for(NOWHERE, max_concurrent=1))
    desk = Desk()
    slot = await desk.enter()
    served: list[str] = []

    async def request(caller: str) -> None:
        mine = await desk.enter(caller)
        served.append(caller)
        mine.leave()

    batch = [asyncio.create_task(request("batch")) for _ in range(20)]
    await asyncio.sleep(0)
    people = [asyncio.create_task(request(name)) for name in ("ann", "bob") for _ in range(2)]
    await asyncio.sleep(0)
    slot.leave()
    await asyncio.gather(*batch, *people)

    assert Counter(served[:6]) == {"batch": 2, "ann": 2, "bob": 2}
    assert desk.in_flight() == {1: 0}


async def test_who_is_full_for_one_model_does_not_hold_up_another(table: Table) -> None:
    table(
        target_for(NOWHERE, number=1, max_concurrent=1),
        target_for(NOWHERE, number=2, max_concurrent=1, models=target_for(NOWHERE).models[:0]),
    )
    desk = Desk()
    slot = await desk.enter()
    waiting = await desk.line_up()

    other = await desk.enter(model=None)

    assert other.target.id == 2
    assert not waiting.done()
    other.leave()  # of no use to the one in line, whose model it does not serve
    await asyncio.sleep(0)
    assert not waiting.done()
    slot.leave()
    await waiting


async def test_one_who_leaves_the_queue_is_gone_at_once(table: Table) -> None:
    table(target_for(NOWHERE, max_concurrent=1))
    desk = Desk()
    slot = await desk.enter()
    waiting = await desk.line_up()

    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    assert desk.admission.waiting == 0
    slot.leave()
    assert desk.in_flight() == {1: 0}


async def test_one_who_leaves_as_the_place_comes_loses_nobody_a_place(table: Table) -> None:
    table(target_for(NOWHERE, max_concurrent=1))
    desk = Desk()
    slot = await desk.enter()
    leaving, staying = await desk.line_up("a"), await desk.line_up("b")

    slot.leave()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)

    assert (await asyncio.wait_for(staying, 2)).target.id == 1
    assert desk.in_flight() == {1: 1}


async def test_one_who_leaves_just_before_the_place_comes_does_not_take_it_along(table: Table) -> None:
    table(target_for(NOWHERE, max_concurrent=1))
    desk = Desk()
    slot = await desk.enter()
    leaving, staying = await desk.line_up("a"), await desk.line_up("b")

    leaving.cancel()
    slot.leave()  # before the other's task has run again

    assert (await asyncio.wait_for(staying, 2)).target.id == 1
    assert (desk.in_flight(), desk.admission.waiting) == ({1: 1}, 0)


async def test_one_who_has_just_left_a_full_queue_makes_place(table: Table) -> None:
    table(target_for(NOWHERE, max_concurrent=1))
    desk = Desk(max_waiting=1)
    slot = await desk.enter()
    leaving = await desk.line_up("a")

    newcomer = asyncio.create_task(desk.enter("b"))
    leaving.cancel()  # its task hears of it after the newcomer has come
    await asyncio.sleep(0)
    slot.leave()

    assert (await asyncio.wait_for(newcomer, 2)).target.id == 1
    assert (desk.in_flight(), desk.admission.refused) == ({1: 1}, 0)


async def test_a_full_queue_refuses_with_the_time_that_it_will_take(table: Table) -> None:
    table(target_for(NOWHERE, max_concurrent=2))
    desk = Desk(max_waiting=3)
    (await desk.enter()).leave(10.0)  # requests take ten seconds here, so two in parallel end every five
    slots = [await desk.enter() for _ in range(2)]
    waiting = [await desk.line_up() for _ in range(3)]

    with pytest.raises(ApiError) as refused:
        await desk.enter()

    assert (refused.value.status, refused.value.code) == (503, "overloaded")
    assert refused.value.headers["Retry-After"] == "20"
    assert desk.admission.refused == 1
    for slot in slots:
        slot.leave()
    await asyncio.gather(*waiting[:2])
    waiting[2].cancel()


async def test_in_a_full_queue_the_longest_line_makes_place(table: Table) -> None:
    table(target_for(NOWHERE, max_concurrent=1))
    desk = Desk(max_waiting=3)
    slot = await desk.enter()
    batch = [await desk.line_up("batch") for _ in range(3)]

    person = await desk.line_up("ann")
    await asyncio.sleep(0)

    assert isinstance(batch[2].exception(), ApiError)
    assert not person.done()
    slot.leave()
    (await batch[0]).leave()
    await person
    batch[1].cancel()


async def test_who_waits_too_long_is_told_so(table: Table) -> None:
    table(target_for(NOWHERE, max_concurrent=1))
    desk = Desk(max_wait=0.05)
    await desk.enter()

    with pytest.raises(ApiError, match="Every endpoint that serves 'm1' is busy"):
        await desk.enter()

    assert desk.admission.waiting == 0


async def test_nobody_waits_when_waiting_is_off(table: Table) -> None:
    table(target_for(NOWHERE, max_concurrent=1))
    desk = Desk(max_wait=0)
    await desk.enter()

    with pytest.raises(ApiError, match="busy"):
        await desk.enter()


async def test_an_endpoint_that_joins_serves_those_in_line(table: Table) -> None:
    table(target_for(NOWHERE, max_concurrent=1))
    desk = Desk()
    await desk.enter()
    waiting = await desk.line_up()

    table(target_for(NOWHERE, max_concurrent=1), target_for(NOWHERE, number=2))

    assert (await asyncio.wait_for(waiting, 2)).target.id == 2


async def test_those_in_line_are_told_when_the_last_endpoint_goes(table: Table) -> None:
    table(target_for(NOWHERE, max_concurrent=1))
    desk = Desk()
    await desk.enter()
    waiting = await desk.line_up()

    table(target_for(NOWHERE, status=Status.OFFLINE))

    with pytest.raises(ApiError) as refused:
        await asyncio.wait_for(waiting, 2)
    assert refused.value.code == "model_unavailable"


async def test_what_is_no_inference_never_waits(table: Table) -> None:
    table(target_for(NOWHERE, max_concurrent=1))
    desk = Desk()
    await desk.enter()

    assert (await desk.enter(waits=False)).target.id == 1


# --- Over HTTP ---


def test_an_endpoint_never_has_more_than_its_share_and_everyone_is_served(
    serve: Callable[..., Served], upstream: FakeUpstream, table: Table
) -> None:
    async def crowd(url: str) -> list[int]:
        async with httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as client:
            asked = [client.post(CHAT, json=chat_body(stream=number % 2 == 0)) for number in range(40)]
            return [answer.status_code for answer in await asyncio.gather(*asked)]

    table(target_for(upstream, max_concurrent=3))
    served = serve(gateway_with())

    assert asyncio.run(crowd(served.url)) == [200] * 40
    assert upstream.accepted_connections == 3  # each carries one request at a time
    assert served.gateway.router.loads.of(1).in_flight == 0
    assert served.gateway.admission.refused == 0


def test_a_refusal_comes_with_retry_after(
    serve: Callable[..., Served], upstream: FakeUpstream, table: Table
) -> None:
    upstream.answer("/v1/chat/completions", answers.raw(answers.HANG))
    table(target_for(upstream, max_concurrent=1))
    served = serve(gateway_with(queue_timeout=0))

    async def two() -> httpx.Response:
        async with httpx.AsyncClient(base_url=served.url, timeout=20, trust_env=False) as client:
            first = asyncio.create_task(client.post(CHAT, json=chat_body()))
            await asyncio.to_thread(upstream.wait_for_requests, 1)
            second = await client.post(CHAT, json=chat_body())
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            return second

    answer = asyncio.run(two())

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.django_db(transaction=True)
def test_the_status_tells_of_the_queue(
    serve: Callable[..., Served], upstream: FakeUpstream, table: Table
) -> None:
    table(target_for(upstream, max_concurrent=1))
    served = serve(gateway_with())

    async def crowd() -> tuple[dict[str, Any], str]:
        async with httpx.AsyncClient(base_url=served.url, timeout=20, trust_env=False) as client:
            await asyncio.gather(*(client.post(CHAT, json=chat_body()) for _ in range(10)))
            found: dict[str, Any] = (await client.get("/internal/status")).json()["queue"]
            return found, (await client.get("/metrics")).text

    queue, metrics = asyncio.run(crowd())

    assert (queue["waiting"], queue["max_waiting"], queue["refused"]) == (0, 100, 0)
    assert queue["admitted"] > 0
    assert queue["max_wait_ms"] >= queue["avg_wait_ms"] >= 0
    assert f"olla_queue_position_count {queue['admitted']:.1f}" in metrics
    assert 'olla_queue_position_bucket{le="1.0"} 0.0' not in metrics  # somebody was the first


async def test_a_slot_says_how_many_waited_when_its_request_came(table: Table) -> None:
    table(target_for(NOWHERE, max_concurrent=1))
    desk = Desk()

    slot = await desk.enter()
    waiting = [await desk.line_up(caller) for caller in "aba"]
    slot.leave()
    positions = []
    for task in waiting[0], waiting[1], waiting[2]:
        slot = await task
        positions.append(slot.position)
        slot.leave()

    assert positions == [1, 2, 3]


async def test_a_higher_priority_goes_first_but_starves_nobody(table: Table) -> None:
    table(target_for(NOWHERE, max_concurrent=1))
    desk = Desk()
    slot = await desk.enter()
    served: list[str] = []

    async def request(caller: str, priority: int) -> None:
        mine = await desk.admission.enter(desk.plan(), caller, priority)
        assert mine is not None
        served.append(caller)
        mine.leave()

    waiting = [asyncio.create_task(request("batch", -1)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting += [asyncio.create_task(request("chat", 5)) for _ in range(14)]
    await asyncio.sleep(0)
    slot.leave()
    await asyncio.gather(*waiting)

    assert served[:7] == ["chat"] * 7
    assert served.index("batch") == 7
    assert Counter(served) == {"batch": 3, "chat": 14}


async def test_a_full_queue_makes_place_for_a_higher_priority_only(table: Table) -> None:
    table(target_for(NOWHERE, max_concurrent=1))
    desk = Desk(max_waiting=2)
    slot = await desk.enter()

    async def line_up(caller: str, priority: int) -> asyncio.Task[Slot | None]:
        task = asyncio.create_task(desk.admission.enter(desk.plan(), caller, priority))
        await asyncio.sleep(0)
        return task

    low, high = await line_up("low", 0), await line_up("high", 5)
    other_high, other_low = await line_up("other", 5), await line_up("fourth", 0)

    for refused in (low, other_low):
        with pytest.raises(ApiError, match="busy"):
            await refused
    slot.leave()
    for admitted in (high, other_high):
        got = await admitted
        assert got is not None
        got.leave()
