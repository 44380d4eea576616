"""Usage that adds up: what rows say, what totals say, and what the endpoints have counted is the same."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from channels.db import database_sync_to_async
from django.db.models import Count, Q, Sum

from proxy.access import key_table
from proxy.access.key_table import KeyTable, Team
from proxy.limits.limits import Limits
from proxy.models import RequestRecord, UsageTotal
from proxy.records.ledger import Ledger
from tests.fakes import answers
from tests.fakes.answers import Gate
from tests.proxy.conftest import CHAT, chat_body, gateway_with, target_for
from tests.proxy.limits.test_limits import holder
from tests.proxy.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from proxy.gateway import Gateway
    from tests.fakes.answers import SeenRequest, Step
    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Serve = Callable[[Gateway], Served]
    Table = Callable[..., None]

REQUESTS = 2000
AT_ONCE = 100
CLIENTS = 20
PLACES = 8
BATCHES, AT_ONCE_EACH, PERSON = (1, 2, 3), 16, 4
COUNTERS = ("prompt_tokens", "completion_tokens", "cached_tokens", "charged_tokens", "bytes_in", "bytes_out")


def plain(number: int) -> str:
    return f"sk-olla-{number:012x}-" + "s" * 40


@pytest.fixture
def five() -> Iterator[None]:
    """Five keys of two teams."""
    teams = (Team(1, "red", Limits()), Team(2, "blue", Limits()))
    holders = (
        holder(plain(number), number, team=teams[number % 2], user_id=number, user=f"user-{number}")
        for number in range(1, 6)
    )
    key_table.install(KeyTable(tuple(holders)))
    yield
    key_table.install(KeyTable())


class Counting:
    """An endpoint that counts the tokens that it has told of, and fails now and then."""

    def __init__(self) -> None:
        self.told: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()

    def __call__(self, request: SeenRequest) -> Any:
        asked = request.json()
        if asked.get("fail"):
            self.statuses[400] += 1
            return answers.error(400, "no")(request)
        self.statuses[200] += 1
        if asked.get("cut"):
            return answers.sse(answers.chat_events(asked["model"], ["a"]), end=(answers.RESET,))(request)
        if asked.get("hang"):
            return answers.sse(answers.chat_events(asked["model"], ["a"]), end=(answers.HANG,))(request)
        prompt, completion = len(request.body) % 50, 1 + len(request.body) % 7
        self.told += Counter(prompt=prompt, completion=completion)
        usage = {"prompt_tokens": prompt, "completion_tokens": completion}
        if asked.get("stream"):
            last = answers.event({"choices": [], "usage": usage})
            return answers.sse([*answers.chat_events(asked["model"], ["a"])[:-1], last, b"data: [DONE]\n\n"])(
                request
            )
        return answers.respond({"model": asked["model"], "choices": [], "usage": usage})(request)


KINDS: list[dict[str, Any]] = [
    {},
    {},
    {"stream": True},
    {"stream": True, "padding": "x" * 33},
    {"fail": True},
    {"stream": True, "cut": True},
    {"stream": True, "hang": True},
    {"model": "nobody-has-it"},
]


async def send(client: httpx.AsyncClient, number: int, slots: asyncio.Semaphore) -> None:
    kind = KINDS[number % len(KINDS)]
    headers = {"x-api-key": plain(1 + number % 5)}
    body = chat_body(**{"model": "m1", "n": number % 13, **kind})
    async with slots:
        try:
            async with client.stream("POST", CHAT, json=body, headers=headers) as answer:
                async for _ in answer.aiter_bytes():
                    if kind.get("hang"):
                        break
        except httpx.RemoteProtocolError:
            assert kind.get("cut")


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("five")
async def test_rows_totals_and_endpoints_agree_after_thousands_of_mixed_requests(
    serve: Serve, table: Table, upstreams: Callable[..., FakeUpstream]
) -> None:
    fakes, counting = [upstreams("m1"), upstreams("m1")], Counting()
    for fake in fakes:
        fake.answer("/v1/chat/completions", counting)
    # On a busy machine this process may stand still for as long as a connection may usually take.
    patient = {"max_concurrent": 200, "connect_timeout_seconds": 60.0}
    table(*(target_for(fake, number=n, **patient) for n, fake in enumerate(fakes, 1)))
    ledger = Ledger(addresses="none", interval=0.05)
    gateway = gateway_with(ledger=ledger)
    slots = asyncio.Semaphore(AT_ONCE)
    url = serve(gateway).url
    async with AsyncExitStack() as stack:
        # Each with few connections: httpx looks at all that it has for every request.
        clients = [
            await stack.enter_async_context(
                httpx.AsyncClient(base_url=url, trust_env=False, timeout=60, verify=False)  # noqa: S501
            )
            for _ in range(CLIENTS)
        ]
        await asyncio.gather(*(send(clients[number % CLIENTS], number, slots) for number in range(REQUESTS)))
    async with asyncio.timeout(20):
        while gateway.records.in_flight():  # noqa: ASYNC110 - those who left are noticed a little later
            await asyncio.sleep(0.02)
    await asyncio.to_thread(ledger.stop)

    await database_sync_to_async(compare)(counting, sum(len(fake.requests) for fake in fakes))
    attempts = sum(gateway.records.of(number).requests for number in range(1, len(fakes) + 1))
    assert attempts == sum(counting.statuses.values())


def compare(counting: Counting, reached: int) -> None:
    rows, totals = RequestRecord.objects.order_by(), UsageTotal.objects.order_by()
    for by in ("key_name", "user_name", "team_name", "endpoint"):
        of_rows = rows.values(by).annotate(n=Count("pk"), **{f"s_{c}": Sum(c, default=0) for c in COUNTERS})
        of_totals = totals.values(by).annotate(n=Sum("requests"), **{f"s_{c}": Sum(c) for c in COUNTERS})
        assert sorted(map(repr, of_rows)) == sorted(map(repr, of_totals))
    sums = totals.aggregate(
        *map(Sum, ("requests", "failures", "abandoned", "prompt_tokens", "completion_tokens"))
    )
    kinds = REQUESTS // len(KINDS)
    assert list(sums.values()) == [
        *(REQUESTS, 3 * kinds, kinds),
        *(counting.told["prompt"], counting.told["completion"]),
    ]
    assert rows.filter(~Q(endpoint="")).count() == reached == REQUESTS - kinds


@pytest.mark.usefixtures("five")
async def test_a_person_beside_noisy_batches_is_let_in_as_soon_as_each_of_them_was(
    serve: Serve, table: Table, upstream: FakeUpstream
) -> None:
    """Two teams, five keys: three batch clients fill an endpoint and the line before it; then a person chats.

    In one line for all, 40 would go first.
    """
    gate, begun = Gate(), list[int]()

    def in_turn(request: SeenRequest) -> Iterator[Step]:
        begun.append(request.json()["caller"])
        yield gate
        yield from answers.chat(request)

    upstream.answer("/v1/chat/completions", in_turn)
    table(target_for(upstream, max_concurrent=PLACES))
    served = serve(gateway_with(queue_size=500))
    line = served.gateway.admission
    async with httpx.AsyncClient(
        base_url=served.url, limits=httpx.Limits(max_connections=200), trust_env=False, timeout=60
    ) as client:

        def more_have_begun(before: int) -> bool:
            return len(begun) > before

        async def ask(number: int) -> int:
            body = chat_body(caller=number)
            return (await client.post(CHAT, json=body, headers={"x-api-key": plain(number)})).status_code

        asking = [asyncio.create_task(ask(number)) for number in BATCHES for _ in range(AT_ONCE_EACH)]
        await asyncio.to_thread(
            wait_for, lambda: line.waiting == len(asking) - PLACES == len(asking) - len(begun)
        )
        asking.append(asyncio.create_task(ask(PERSON)))
        await asyncio.to_thread(wait_for, lambda: line.waiting == len(asking) - PLACES)
        while PERSON not in begun:
            before = len(begun)
            gate.open()
            await asyncio.to_thread(wait_for, partial(more_have_begun, before))
        for _ in asking:
            gate.open()
        assert set(await asyncio.gather(*asking)) == {200}

    assert begun.index(PERSON) - PLACES <= len(BATCHES)
