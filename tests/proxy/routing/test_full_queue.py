"""A full queue: who is refused, who makes place for whom, and what a refusal says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from ollaproject.wire.openai_errors import ApiError
from tests.proxy.conftest import target_for
from tests.proxy.desk import NOWHERE, Desk

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.routing.admission import Slot

    Table = Callable[..., None]


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
    assert desk.in_flight() == {1: 1}


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
    for slot in slots:
        slot.leave()
    await asyncio.gather(*waiting[:2])
    waiting[2].cancel()


async def test_who_went_past_the_queue_leaves_no_place_that_was_not_there(table: Table) -> None:
    table(target_for(NOWHERE, max_concurrent=1))
    desk = Desk()
    slot = await desk.enter()
    waiting = await desk.line_up()

    (await desk.enter(waits=False)).leave()
    await asyncio.sleep(0)

    assert not waiting.done()
    slot.leave()
    assert (await waiting).target.id == 1


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


async def test_in_a_full_queue_nobody_makes_place_for_a_line_that_would_be_as_long(table: Table) -> None:
    table(target_for(NOWHERE, max_concurrent=1))
    desk = Desk(max_waiting=3)
    await desk.enter()
    waiting = [await desk.line_up("batch"), await desk.line_up("batch"), await desk.line_up("ann")]

    with pytest.raises(ApiError, match="busy"):
        await desk.enter("ann")

    assert desk.admission.waiting == 3
    for task in waiting:
        task.cancel()


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
