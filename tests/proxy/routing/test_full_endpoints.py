"""Many clients at endpoints that take few at once, over HTTP: what is served, refused and told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.fakes import answers
from tests.proxy.conftest import CHAT, chat_body, gateway_with, target_for
from tests.proxy.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Table = Callable[..., None]


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
    gate = answers.Gate()
    upstream.answer("/v1/chat/completions", lambda request: [gate, *answers.chat(request)])
    table(target_for(upstream, max_concurrent=1))
    served = serve(gateway_with())

    async def crowd() -> tuple[dict[str, Any], dict[str, Any], str]:
        async with httpx.AsyncClient(base_url=served.url, timeout=20, trust_env=False) as client:

            async def queue() -> dict[str, Any]:
                found: dict[str, Any] = (await client.get("/internal/status")).json()["queue"]
                return found

            asked = [asyncio.create_task(client.post(CHAT, json=chat_body())) for _ in range(10)]
            await asyncio.to_thread(wait_for, lambda: served.gateway.admission.waiting == 9)
            lined_up = await queue()
            for _ in asked:
                gate.open()
            await asyncio.gather(*asked)
            return lined_up, await queue(), (await client.get("/metrics")).text

    lined_up, queue, metrics = asyncio.run(crowd())

    assert (lined_up["waiting"], lined_up["admitted"], lined_up["max_wait_ms"]) == (9, 0, None)
    assert (queue["waiting"], queue["max_waiting"], queue["refused"], queue["admitted"]) == (0, 100, 0, 9)
    assert queue["max_wait_ms"] >= queue["avg_wait_ms"] >= 0
    assert "olla_queue_position_count 9.0" in metrics
    assert 'olla_queue_position_bucket{le="1.0"} 1.0' in metrics  # one was the first
