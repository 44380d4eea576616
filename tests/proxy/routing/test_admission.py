"""No endpoint gets more than it takes at once, and whoever waits is treated fairly and told the truth."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from endpoints.choices import Status
from ollaproject.wire.openai_errors import ApiError
from tests.proxy.conftest import target_for
from tests.proxy.desk import NOWHERE, Desk

if TYPE_CHECKING:
    from collections.abc import Callable

    Table = Callable[..., None]


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
