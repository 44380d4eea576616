"""Limits that several processes keep together through Redis: exact; without it each keeps them alone."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis

from bench.ports import free_port
from ollaproject.wire.openai_errors import ApiError
from proxy.access.auth import Caller
from proxy.limits import shared_limits
from proxy.limits.limiter import Limiter
from proxy.limits.limits import Limits
from proxy.limits.shared_limits import SharedLimits
from proxy.request.estimate import Estimate, estimate
from tests.services import redis_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from proxy.gateway import Gateway
    from tests.proxy.conftest import Served

    Serve = Callable[[Gateway], Served]
    Table = Callable[..., None]
from tests.proxy.limits.test_limits import CALLERS, holder


def run_callers(url: str, limit: str, callers: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.proxy.limited_callers", url, limit, str(callers)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.redis
@pytest.mark.parametrize(("limit", "let_in"), [("requests_per_minute=61", 61), ("tokens_per_day=355", 35)])
def test_two_processes_share_a_limit_exactly(redis_url: str, limit: str, let_in: int) -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(run_callers(redis_url, limit, CALLERS // 2)) for _ in range(2)]
        for each in processes:
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n"
        for each in processes:
            assert each.stdin is not None
            each.stdin.write("go\n")
            each.stdin.flush()
        counts = [int(each.stdout.readline()) for each in processes if each.stdout]
        for each in processes:
            each.communicate()

    assert sum(counts) == let_in


@pytest.fixture
async def shared() -> AsyncIterator[Callable[[str], SharedLimits]]:
    made: list[SharedLimits] = []

    def make(url: str) -> SharedLimits:
        made.append(SharedLimits(url))
        return made[-1]

    yield make
    for each in made:
        await each.aclose()


def caller_with(number: int = 1, **limits: int) -> Caller:
    return Caller("", "", peer_trusted=False, holder=holder(number=number, limits=Limits(**limits)))


@pytest.mark.redis
async def test_what_is_over_is_free_for_the_other_process(
    redis_url: str, shared: Callable[[str], SharedLimits]
) -> None:
    one, other = Limiter(shared=shared(redis_url)), Limiter(shared=shared(redis_url))
    caller = caller_with(101, concurrent=1, tokens_per_minute=100)

    permit = await one.enter(caller, Estimate(answers=90))
    with pytest.raises(ApiError, match="requests at a time: 1"):
        await other.enter(caller, Estimate(answers=90))
    permit.close(5)
    left = dict((await other.enter(caller, Estimate(answers=90))).pairs)

    assert left[b"x-ratelimit-remaining-tokens"] == b"5"


@pytest.mark.redis
async def test_a_place_is_held_by_the_clock_of_redis_whatever_this_host_says(
    redis_url: str, shared: Callable[[str], SharedLimits], monkeypatch: pytest.MonkeyPatch
) -> None:
    hour_ago = time.time() - 3600
    monkeypatch.setattr(time, "time", lambda: hour_ago)
    monkeypatch.setattr(shared_limits, "RENEW_SECONDS", 0.01)
    holding = shared(redis_url)
    one, other = Limiter(shared=holding), Limiter(shared=shared(redis_url))
    caller = caller_with(102, concurrent=1)
    async with Redis.from_url(redis_url) as redis:
        permit = await one.enter(caller, Estimate(answers=90))
        (place,) = holding._places
        begun = deadline = await redis.zscore(*place)
        while deadline == begun:  # until it was renewed
            deadline = await redis.zscore(*place)
        assert deadline is not None
        with pytest.raises(ApiError, match="requests at a time: 1"):
            await other.enter(caller, Estimate(answers=90))
        permit.close(5)


@pytest.mark.redis
async def test_a_limit_of_redis_says_when_there_is_room(
    redis_url: str, shared: Callable[[str], SharedLimits]
) -> None:
    one, other = Limiter(shared=shared(redis_url)), Limiter(shared=shared(redis_url))
    caller = caller_with(102, requests_per_minute=1, tokens_per_day=100)
    await one.enter(caller, Estimate())
    with pytest.raises(ApiError) as refused:
        await other.enter(caller, Estimate())

    assert refused.value.code == "rate_limit_exceeded"
    assert 59 <= int(refused.value.headers["Retry-After"]) <= 61


@pytest.mark.redis
async def test_without_redis_each_process_limits_by_itself_until_it_is_back(
    shared: Callable[[str], SharedLimits], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    port = free_port()
    caller = caller_with(requests_per_minute=10, concurrent=100)
    with redis_server(port) as url:
        limiters = [Limiter(shared=shared(url)) for _ in range(2)]
        for limiter in limiters:
            for _ in range(3):
                await limiter.enter(caller, Estimate())
    let_in = [await entered(limiter, caller, 20) for limiter in limiters]

    assert let_in == [7, 7]  # what each has let in before still counts
    assert [each.counted_by for each in limiters] == ["process", "process"]
    assert caplog.text.count("Redis does not answer") == 2

    with redis_server(port):
        async with asyncio.timeout(10):
            while {each.counted_by for each in limiters} != {"redis"}:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.02)
        other = caller_with(2, requests_per_minute=10)
        assert sum([await entered(limiter, other, 20) for limiter in limiters]) == 10
    assert caplog.text.count("Redis answers again") == 2


async def entered(limiter: Limiter, caller: Caller, number: int) -> int:
    passed = 0
    for _ in range(number):
        try:
            await limiter.enter(caller, Estimate())
        except ApiError:
            continue
        passed += 1
    return passed


@pytest.mark.redis
async def test_who_asks_for_an_absurdly_long_answer_breaks_no_shared_limit(
    redis_url: str, shared: Callable[[str], SharedLimits]
) -> None:
    limiter = Limiter(shared=shared(redis_url))
    caller = caller_with(104, tokens_per_day=1000, requests_per_minute=10)
    body = b'{"model": "m1", "max_tokens": 1%s, "n": 9}' % (b"0" * 30)

    permit = await limiter.enter(caller, estimate(b"/v1/chat/completions", body, None))
    permit.close(5)

    assert limiter.counted_by == "redis"
    left = dict((await Limiter(shared=shared(redis_url)).enter(caller, Estimate(answers=995))).pairs)
    assert left[b"x-ratelimit-remaining-requests"] == b"8"


@pytest.mark.redis
async def test_who_leaves_while_redis_is_asked_takes_no_place(
    redis_url: str, shared: Callable[[str], SharedLimits]
) -> None:
    limiter = Limiter(shared=shared(redis_url))
    caller = caller_with(103, concurrent=1)
    leaving = asyncio.create_task(limiter.enter(caller, Estimate()))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving

    async with asyncio.timeout(5):
        while not await entered(Limiter(shared=shared(redis_url)), caller, 1):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
