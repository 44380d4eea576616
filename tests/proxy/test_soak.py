"""Ten thousand requests of every kind, clients leaving at every stage: nothing is mixed up, nothing is left.

The client is written on bare streams: another one would be most of what is measured by the clock.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fakes import answers
from tests.fakes.answers import CLOSE, HANG
from tests.proxy.conftest import CHAT, chat_body, over_both_servers, target_for
from tests.proxy.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served, _Server
    from tests.proxy.over_daphne import DaphneServer

    Table = Callable[..., None]

pytestmark = [over_both_servers, pytest.mark.timeout(180)]

PATH = "/v1/chat/completions"
# Daphne takes three times as long.
REQUESTS = {"uvicorn": 10_000, "daphne": 1_000}
AT_ONCE = 32
KINDS = {
    "plain": 60,
    "stream": 15,
    "broken": 5,
    "nobody's": 5,
    "leaves while uploading": 5,
    "leaves before the answer": 5,
    "leaves in the stream": 5,
}
LAST = b"\r\n" + answers.LAST_CHUNK
LEAVING = [kind for kind in KINDS if kind.startswith("leaves")]
REACHING = ("plain", "stream", "broken", "leaves before the answer", "leaves in the stream")


def answer(request: answers.SeenRequest) -> Iterable[answers.Step]:
    """Says the number it was asked with, in the way that was asked for."""
    asked = request.json()
    number, kind = asked["number"], asked["kind"]
    event = answers.event({"number": number})
    if kind == "plain":
        return answers.respond({"number": number})(request)
    if kind == "broken":
        return answers.raw(CLOSE)(request)
    if kind == "leaves before the answer":
        return answers.raw(HANG)(request)
    return answers.sse([event] * 3, end=[HANG] if kind in LEAVING else [answers.LAST_CHUNK])(request)


def request(number: int, kind: str) -> bytes:
    model = "m9" if kind == "nobody's" else "m1"
    streams = kind in ("stream", "leaves in the stream")
    body = json.dumps(chat_body(model, number=number, kind=kind, stream=streams)).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Content-Type: application/json\r\n\r\n".encode() + body


class Client:
    """One connection after another, with one request after another."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, number: int, kind: str) -> None:
        """Fails when the answer is not the right one, or somebody else's."""
        if self._writer is None or self._reader is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        sent = request(number, kind)
        self._writer.write(sent[:-7] if kind == "leaves while uploading" else sent)
        if kind not in ("leaves while uploading", "leaves before the answer"):
            head = await self._reader.readuntil(b"\r\n\r\n")
            await self._check(head, number, kind)
        if kind in LEAVING:
            await self.leave()

    async def _check(self, head: bytes, number: int, kind: str) -> None:
        assert self._reader is not None
        status = int(head[9:12])
        assert status == {"broken": 502, "nobody's": 404}.get(kind, 200)
        if kind == "leaves in the stream":
            await self._reader.readuntil(b"\n\n")
            return
        _, told, length = head.lower().partition(b"content-length:")
        ends = (
            self._reader.readexactly(int(length.split(b"\r\n")[0])) if told else self._reader.readuntil(LAST)
        )
        body = await ends
        if kind == "stream":
            assert body.count(answers.event({"number": number})) == body.count(b"data:") == 3
        elif kind == "plain":
            assert json.loads(body) == {"number": number}

    async def leave(self) -> None:
        if self._writer is not None:
            self._writer.close()
            with suppress(ConnectionError):
                await self._writer.wait_closed()
            self._reader = self._writer = None


async def crowd(port: int, kinds: list[str]) -> None:
    numbered = iter(enumerate(kinds))

    async def one_client() -> None:
        client = Client(port)
        for number, kind in numbered:
            await client.ask(number, kind)
        await client.leave()

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(one_client())


def open_files() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


def test_ten_thousand_requests_add_up_and_leave_nothing_behind(
    request: pytest.FixtureRequest,
    server: _Server | DaphneServer,
    served: Served,
    upstream: FakeUpstream,
    table: Table,
) -> None:
    upstream.answer(PATH, answer)
    table(target_for(upstream, max_concurrent=10 * AT_ONCE))
    name = request.node.callspec.params["server"]
    count = REQUESTS[name]
    kinds = random.Random(count).choices(list(KINDS), weights=list(KINDS.values()), k=count)  # noqa: S311
    files, tasks = open_files(), asyncio.all_tasks(server.loop)

    asyncio.run(crowd(served.port, kinds))

    records, transport = served.gateway.records, served.gateway.upstream.transport
    by_kind = Counter(kinds)
    # Daphne reads a whole request before it tells of one.
    unseen = by_kind["leaves while uploading"] if name == "daphne" else 0
    wait_for(lambda: not records.in_flight() and records._meter.pending.requests == count - unseen)
    counts, tally = records.take(), records.of(1)
    assert counts.requests == count - unseen
    assert counts.disconnects == sum(by_kind[kind] for kind in LEAVING) - unseen
    assert counts.errors == {"upstream_error": by_kind["broken"], "model_not_found": by_kind["nobody's"]}
    assert tally.requests == sum(by_kind[kind] for kind in REACHING)
    # What breaks on a connection that was used before is sent once more, over a fresh one; and who leaves at
    # once has left before there is a connection.
    seen = {each.json()["number"]: each.json()["kind"] for each in upstream.requests}
    lasting = [kind for kind in REACHING if kind != "leaves before the answer"]
    assert [list(seen.values()).count(kind) for kind in lasting] == [by_kind[kind] for kind in lasting]
    assert (tally.successes, tally.failures) == (by_kind["plain"] + by_kind["stream"], by_kind["broken"])
    assert served.gateway.router.loads.of(1).in_flight == served.gateway.admission.waiting == 0
    # What is still open are idle connections, both of whose ends are in this process.
    wait_for(lambda: transport.open_connections == upstream.open_connections)
    assert transport.open_connections <= AT_ONCE
    wait_for(lambda: open_files() <= files + 2 * transport.open_connections)
    wait_for(lambda: asyncio.all_tasks(server.loop) <= tasks)
