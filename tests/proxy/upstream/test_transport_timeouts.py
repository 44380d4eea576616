"""The transport's timeouts, which end a wait while it lasts, and only a wait."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import httpx
import pytest
import uvloop

from tests.fakes import answers
from tests.fakes.answers import HANG
from tests.proxy.asking import PATIENT, SHORT, ask, transport

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


def test_an_event_loop_that_stood_still_is_not_an_endpoint_s_fault(upstream: FakeUpstream) -> None:
    """As on a machine that has too much to do, or while a debugger looks."""
    upstream.answer("/x", answers.respond({}))
    timeouts = PATIENT._replace(connect=0.2)

    async def ask_and_stand_still() -> httpx.Response:
        async with transport() as over:
            asked = asyncio.create_task(ask(over, upstream, timeouts=timeouts))
            await asyncio.sleep(0)  # it has begun to connect
            time.sleep(timeouts.connect * 2)  # noqa: ASYNC251 - what this is about
            return await asked

    for factory in (asyncio.new_event_loop, uvloop.new_event_loop):
        with asyncio.Runner(loop_factory=factory) as runner:
            assert runner.run(ask_and_stand_still()).status_code == 200
