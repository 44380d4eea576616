"""Many requests at once, of every kind, some clients leaving: nothing is mixed up, nothing is left over."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import httpx

from tests.fakes import answers
from tests.fakes.answers import CLOSE, Pause
from tests.proxy.conftest import CHAT, chat_body, target_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Table = Callable[..., None]

PATH = "/v1/chat/completions"
REQUESTS = 400
AT_ONCE = 24


def echo(request: answers.SeenRequest) -> Iterable[answers.Step]:
    """Says the number it was asked with, in the way that was asked for."""
    asked = request.json()
    number, kind = asked["number"], asked["kind"]
    if kind == "stream":
        events = [answers.event({"number": number})] * 5
        return answers.sse(events, between=Pause(0.002))(request)
    if kind == "broken":
        return answers.raw(CLOSE)(request)
    return answers.respond({"number": number}, before=[Pause(0.001)])(request)


async def ask(client: httpx.AsyncClient, number: int, kind: str, gate: asyncio.Semaphore) -> None:
    """One request. Fails when the answer is somebody else's."""
    body = chat_body(
        number=number, kind="stream" if kind == "leave" else kind, stream=kind in ("stream", "leave")
    )
    async with gate, client.stream("POST", CHAT, json=body) as answer:
        if kind == "leave":
            return
        content = await answer.aread()
    if kind == "broken":
        assert answer.status_code == 502
    elif kind == "stream":
        assert content == answers.event({"number": number}) * 5
    else:
        assert answer.json() == {"number": number}


async def test_a_crowd_is_served_and_nothing_is_left_over(
    served: Served, upstream: FakeUpstream, table: Table
) -> None:
    upstream.answer(PATH, echo)
    table(target_for(upstream))
    kinds = random.choices(["plain", "stream", "leave", "broken"], weights=[5, 3, 1, 1], k=REQUESTS)  # noqa: S311

    gate = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(base_url=served.url, timeout=30, trust_env=False) as client:
        await asyncio.gather(*(ask(client, number, kind, gate) for number, kind in enumerate(kinds)))
    await asyncio.to_thread(upstream.wait_for, lambda fake: fake.open_connections <= AT_ONCE)

    tally = served.gateway.records.of(1)
    assert (tally.requests, tally.in_flight) == (REQUESTS, 0)
    assert tally.failures == kinds.count("broken")
    assert REQUESTS - kinds.count("broken") - kinds.count("leave") <= tally.successes
    assert served.gateway.upstream.transport.open_connections == upstream.open_connections
