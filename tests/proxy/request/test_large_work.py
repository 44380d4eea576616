"""Large bodies are worked on beside the event loop, which goes on meanwhile, and small ones at once."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from endpoints.routing.snapshot import Alias
from proxy.formats.messages import Messages
from proxy.formats.responses import Responses
from proxy.request.beside import LARGE_BYTES, done
from proxy.request.bodies import Spool
from proxy.upstream.shared_headers import SharedHeaders
from proxy.upstream.upstream import Outgoing
from tests.fakes import answers
from tests.proxy.conftest import CHAT, chat_body, gateway_with, target_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from proxy.request.bodies import Body
    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

WAIT_SECONDS = 30.0
LARGE = "ä" * (LARGE_BYTES // 2)
MESSAGE = {"model": "m1", "max_tokens": 9, "messages": [{"role": "user", "content": LARGE}]}
RESPONSE = {"model": "m1", "input": LARGE}


class Gate:
    """A step in another thread, which the event loop sees come, and lets go on."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._may_go_on = threading.Event()
        self.came = asyncio.Event()

    def open(self) -> None:
        self._may_go_on.set()

    def pass_through(self) -> None:
        self._loop.call_soon_threadsafe(self.came.set)
        assert self._may_go_on.wait(WAIT_SECONDS), "the event loop does not go on"


class HeldMessages(Messages):
    gate: Gate

    def chat(self) -> Any:
        self.gate.pass_through()
        return super().chat()


class HeldResponses(Responses):
    gate: Gate

    def chat(self) -> Any:
        self.gate.pass_through()
        return super().chat()


@pytest.mark.parametrize(("kind", "asked"), [(HeldMessages, MESSAGE), (HeldResponses, RESPONSE)])
@pytest.mark.parametrize("memory", [2 * LARGE_BYTES, 1], ids=["in memory", "in a file"])
async def test_the_event_loop_goes_on_while_a_large_request_is_told_in_chat(
    tmp_path: Path, kind: type[HeldMessages | HeldResponses], asked: dict[str, object], memory: int
) -> None:
    spool = Spool(tmp_path / "bodies", memory=memory, disk=10 * LARGE_BYTES)
    body: Body = json.dumps(asked, ensure_ascii=False).encode()
    body = await spool.keep(lambda: body)  # type: ignore[arg-type, return-value]
    translation = kind(body, spool)
    translation.gate = gate = Gate()
    outgoing = Outgoing("POST", b"/v1/messages", b"", SharedHeaders([]), [], body, translation)

    telling = asyncio.create_task(translation.outgoing_for(outgoing, target_for("http://x", type="mlx-lm")))
    await asyncio.wait_for(gate.came.wait(), WAIT_SECONDS)
    assert not telling.done()
    gate.open()

    told = await telling
    assert told.path == b"/v1/chat/completions"
    assert len(told.body) > len(LARGE)


async def test_a_small_request_waits_for_no_thread() -> None:
    assert await done(LARGE_BYTES - 1, threading.get_ident) == threading.get_ident()
    assert await done(LARGE_BYTES, threading.get_ident) != threading.get_ident()


def test_a_large_request_by_an_alias_goes_to_its_model(
    client: httpx.Client, table: Callable[..., None], upstream: FakeUpstream
) -> None:
    table(target_for(upstream), aliases={"large": Alias(("m1",))})
    assert client.post(CHAT, json=chat_body("large", note=LARGE)).status_code == 200
    seen = upstream.requests[-1].json()
    assert (seen["model"], seen["note"]) == ("m1", LARGE)


def test_a_large_batch_is_split_and_put_together_in_order(
    serve: Callable[..., Served], table: Callable[..., None], upstreams: Callable[..., FakeUpstream]
) -> None:
    def embed(request: answers.SeenRequest) -> Any:
        """A vector holds the number of its text, many times."""
        numbers = [int(text.split()[0]) for text in request.json()["input"]]
        rows = [
            {"object": "embedding", "index": place, "embedding": [number] * LARGE_BYTES}
            for place, number in enumerate(numbers)
        ]
        return answers.respond({"object": "list", "data": rows, "model": "m1"})(request)

    pair = [upstreams("m1"), upstreams("m1")]
    for upstream in pair:
        upstream.answer("/v1/embeddings", embed)
    table(*(target_for(upstream, number=number) for number, upstream in enumerate(pair, 1)))
    gateway = gateway_with(max_body_size=4 * LARGE_BYTES)
    gateway.embedding_batch_size = 2
    texts = [f"{number} {LARGE[: LARGE_BYTES // 4]}" for number in range(4)]

    got = httpx.post(f"{serve(gateway).url}/v1/embeddings", json={"model": "m1", "input": texts}, timeout=60)

    assert [row["embedding"][0] for row in got.json()["data"]] == [0, 1, 2, 3]
    assert [len(upstream.requests) for upstream in pair] == [1, 1]
