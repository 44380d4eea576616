"""The transport's timeouts, which end a wait while it lasts, and only a wait."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.fakes import answers
from tests.fakes.answers import HANG
from tests.proxy.asking import SHORT, ask, transport

if TYPE_CHECKING:
    from tests.fakes.upstream import FakeUpstream


async def test_the_first_byte_is_waited_for_only_so_long(upstream: FakeUpstream) -> None:
    upstream.answer("/x", answers.raw(HANG))
    async with transport() as over:
        started = time.monotonic()
        with pytest.raises(httpx.ReadTimeout):
            await ask(over, upstream, timeouts=SHORT)

    assert 0.15 < time.monotonic() - started < 10
    upstream.wait_for_departure()


async def test_a_pause_between_chunks_is_waited_for_only_so_long(upstream: FakeUpstream) -> None:
    upstream.answer("/x", answers.sse([b"data: 1\n\n"], end=[HANG]))
    async with transport() as over:
        with pytest.raises(httpx.ReadTimeout):
            await ask(over, upstream, timeouts=SHORT)


async def test_a_slow_but_steady_answer_is_not_cut(upstream: FakeUpstream) -> None:
    events = [b"data: %d\n\n" % number for number in range(10)]
    upstream.answer("/x", answers.sse(events, between=answers.Pause(0.1)))
    async with transport() as over:
        answer = await ask(over, upstream, timeouts=SHORT._replace(idle=0.7))  # all of it takes longer

    assert answer.content == b"".join(events)


async def test_a_slow_reader_is_not_a_stalled_upstream(upstream: FakeUpstream) -> None:
    upstream.answer("/x", answers.sse([b"data: 1\n\n", b"data: 2\n\n"]))
    async with transport() as over:
        request = httpx.Request("GET", upstream.url + "/x", extensions={"timeouts": SHORT})
        response = await over.handle_async_request(request)
        await asyncio.sleep(SHORT.idle * 2)

        assert await response.aread() == b"data: 1\n\ndata: 2\n\n"
        await response.aclose()
