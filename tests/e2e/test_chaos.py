"""Three backends that are killed, stopped, slowed and broken under load: no client notices.

Real processes on both sides. One backend at a time is in trouble, so there is always a sound sibling. Beside
the gateway's own worker and beat run a second of each, and nothing is checked twice.
"""

from __future__ import annotations

import asyncio
import math
import shutil
import sqlite3
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.e2e.gateway import READY_SECONDS, Gateway, eventually
from tests.fakes.backend import Backend
from tests.fakes.upstream import FakeUpstream

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

CLIENTS = 8
TROUBLE_SECONDS, HANG_SECONDS = 0.7, 1.6  # the latter outlasts the first-byte timeout
CHAT = "/v1/chat/completions"
BACKEND = """
  - {{name: backend-{number}, url: "http://127.0.0.1:{port}", type: vllm-mlx,
     check_interval: 1s, check_timeout: 500ms, first_byte_timeout: 1s, max_concurrent: 20}}"""
# Endpoints that nobody disturbs. They have no part in the requests: their model is another.
CALM = """
  - {{name: calm-{number}, url: "{url}", check_interval: {interval}s, check_timeout: 1s}}"""
# A worker that stands still for a whole interval plans anew, and misses some: a busy machine is given time.
CALM_ENDPOINTS, CALM_INTERVAL_SECONDS, ROUNDS = 8, 5, 3


@dataclass
class Fleet:
    gateway: Gateway
    backends: list[Backend]
    helpers: list[subprocess.Popen[bytes]]
    # Who is in trouble, or was a moment ago.
    troubled: str = ""


@dataclass
class Seen:
    """What came of the requests: who answered, what went wrong, and the streams that were broken off."""

    served: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("chaos")
    environment = {"OLLA_SLOW_START": "0", "OLLA_LOAD_BALANCER": "least-connections"}
    with ExitStack() as stack:
        backends = [Backend.started() for _ in range(3)]
        for each in backends:
            stack.callback(each.kill)
        calm = stack.enter_context(FakeUpstream(models=("calm-model",)))
        gateway = stack.enter_context(Gateway(options=("--gateway-only",), environment=environment))
        eventually(
            lambda: "Add your servers" in gateway.output, within=READY_SECONDS, what=lambda: gateway.output
        )
        helpers = [
            stack.enter_context(gateway.celery("worker", "--pool", "threads", "--loglevel", "ERROR")),
            stack.enter_context(gateway.celery("beat", "--pidfile", "", "--schedule", str(folder / "beat"))),
        ]
        import_endpoints(gateway, backends, calm.url, folder)
        wait_until_each_answers(gateway, backends)
        yield Fleet(gateway, backends, helpers)
    shutil.rmtree(gateway.home, ignore_errors=True)


def import_endpoints(gateway: Gateway, backends: list[Backend], calm_url: str, folder: Path) -> None:
    entries = [BACKEND.format(number=number, port=each.port) for number, each in enumerate(backends)]
    entries += [
        CALM.format(number=number, url=calm_url, interval=CALM_INTERVAL_SECONDS)
        for number in range(CALM_ENDPOINTS)
    ]
    path = folder / "endpoints.yaml"
    path.write_text(f"endpoints:{''.join(entries)}\n")
    gateway.manage("import_endpoints", str(path))


def wait_until_each_answers(gateway: Gateway, backends: list[Backend]) -> None:
    answered: set[str] = set()
    with gateway.client() as client:
        # Healthy in the database is not yet known to the web process: each has to answer once.
        eventually(
            lambda: len(asked(client, answered)) == len(backends), within=90, what=lambda: gateway.output
        )


def asked(client: httpx.Client, answered: set[str]) -> set[str]:
    """`answered`, to which who answers now is added."""
    body = {"model": "m1", "messages": [{"role": "user", "content": "Who is there?"}]}
    got = client.post(CHAT, json=body)
    if got.is_success:
        answered.add(got.headers["x-olla-endpoint"])
    return answered


async def trouble(fleet: Fleet) -> None:
    """Everything that may happen to a backend, to each in turn. The next is sound again by then."""
    kinds = ("kill", "hang", "error", "slow", "kill", "hang")
    for turn, kind in enumerate(kinds):
        number = turn % len(fleet.backends)
        one = fleet.backends[number]
        ways: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
            "kill": (one.kill, one.restart),
            "hang": (one.hang, one.go_on),
            "error": (partial(one.answers, "error"), partial(one.answers, "well")),
            "slow": (partial(one.answers, "slow"), partial(one.answers, "well")),
        }
        begin, end = ways[kind]
        fleet.troubled = f"backend-{number}"
        await asyncio.to_thread(begin)
        await asyncio.sleep(HANG_SECONDS if kind == "hang" else TROUBLE_SECONDS)
        await asyncio.to_thread(end)
        await asyncio.sleep(TROUBLE_SECONDS)  # until it is found well again


async def under_load(fleet: Fleet, work: Callable[[Fleet], Awaitable[None]]) -> Seen:
    """What came of requests, every second client's streamed, while `work` went on."""
    seen, done = Seen(), asyncio.Event()

    async def client(number: int, over: httpx.AsyncClient) -> None:
        count = 0
        while not done.is_set():
            count += 1
            text = f"client {number}, request {count}"
            body: dict[str, Any] = {"model": "m1", "messages": [{"role": "user", "content": text}]}
            await (streamed(over, body, fleet, seen) if number % 2 else whole(over, body, seen))
            await asyncio.sleep(0.02)

    url = fleet.gateway.url
    async with httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as over:
        clients = [asyncio.create_task(client(number, over)) for number in range(CLIENTS)]
        await work(fleet)
        done.set()
        await asyncio.gather(*clients)
    return seen


async def whole(over: httpx.AsyncClient, body: dict[str, Any], seen: Seen) -> None:
    got = await over.post(CHAT, json=body)
    if got.status_code != httpx.codes.OK or not got.json()["choices"]:
        seen.wrong.append(f"{body}: {got.status_code} {got.text}")
    seen.served[got.headers.get("x-olla-endpoint", "nobody")] += 1


async def streamed(over: httpx.AsyncClient, body: dict[str, Any], fleet: Fleet, seen: Seen) -> None:
    """One that was broken off after it had begun has to look so, and only who is in trouble breaks any."""
    text, ended = "", True
    async with over.stream("POST", CHAT, json={**body, "stream": True}) as got:
        try:
            async for piece in got.aiter_text():
                text += piece
        except httpx.RemoteProtocolError:
            ended = False
    by = got.headers.get("x-olla-endpoint", "nobody")
    seen.served[by] += 1
    if got.status_code == httpx.codes.OK and ended and text.endswith("data: [DONE]\n\n"):
        return
    begun = got.status_code == httpx.codes.OK and text.startswith("data: {")
    looks_cut = not ended and "[DONE]" not in text
    if begun and looks_cut and by == fleet.troubled:
        seen.cut.append(by)
    else:
        seen.wrong.append(f"{body}: {got.status_code} from {by}, ended: {ended}, {text}")


def test_no_client_notices_what_happens_to_the_backends(fleet: Fleet) -> None:
    seen = asyncio.run(under_load(fleet, trouble))

    assert seen.wrong == []
    assert set(seen.served) == {"backend-0", "backend-1", "backend-2"}
    assert min(seen.served.values()) > seen.served.total() / 10  # each came back and took its part
    # Each of the deaths and stops can break what runs at that moment, and nothing else.
    assert len(seen.cut) <= 4 * CLIENTS / 2


def rounds(gateway: Gateway) -> dict[str, list[int]]:
    """In which of its intervals, counted from the next one back, each calm endpoint was checked."""
    query = """
        SELECT e.name, h.next_check_at, c.at FROM endpoints_healthcheck c
        JOIN endpoints_endpoint e ON e.id = c.endpoint_id
        JOIN endpoints_endpointhealth h ON h.endpoint_id = e.id
        WHERE e.name LIKE 'calm-%' ORDER BY c.at"""
    found: dict[str, list[int]] = {}
    with closing(sqlite3.connect(f"file:{gateway.home}/olla.sqlite3?mode=ro", uri=True)) as database:
        for name, plan, at in database.execute(query):
            age = (datetime.fromisoformat(at) - datetime.fromisoformat(plan)).total_seconds()
            found.setdefault(name, []).append(math.floor(age / CALM_INTERVAL_SECONDS))
    return found


def test_two_workers_and_two_beats_check_nothing_twice_and_miss_nothing(fleet: Fleet) -> None:
    eventually(
        lambda: (
            len(seen := rounds(fleet.gateway)) == CALM_ENDPOINTS and min(map(len, seen.values())) >= ROUNDS
        ),
        within=90,
    )
    for slots in rounds(fleet.gateway).values():
        assert slots == list(range(slots[0], slots[0] + len(slots)))
    assert [each.poll() for each in fleet.helpers] == [None, None]
