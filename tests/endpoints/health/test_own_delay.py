"""A process that does not get on itself takes no endpoint for slow or dead."""

from __future__ import annotations

import asyncio
import time

import pytest

from endpoints.health.patience import Patience


def test_a_limit_stands_still_while_the_loop_is_held_up() -> None:
    async def held_up() -> float:
        patience = Patience()
        async with patience.limit(0.2):
            await asyncio.sleep(0.05)
            time.sleep(0.4)  # noqa: ASYNC251 - what holds it up
            await asyncio.sleep(0.05)
        return patience.lost

    assert 0.35 < asyncio.run(held_up()) < 4  # more than the 0.4 s when the machine is busy


def test_a_limit_ends_what_takes_too_long() -> None:
    async def too_long() -> None:
        async with Patience().limit(0.05):
            await asyncio.sleep(30)

    started = time.monotonic()
    with pytest.raises(TimeoutError):
        asyncio.run(too_long())
    assert time.monotonic() - started < 5
