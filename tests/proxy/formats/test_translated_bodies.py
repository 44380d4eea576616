"""Large requests in another format than their endpoint's: what becomes of them lies on the disk, too."""

from __future__ import annotations

import json
import threading
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from proxy.errors import BrokenAnswerError
from proxy.formats.responses import Responses
from proxy.request import estimate
from proxy.request.bodies import Spool, Spooled, pieces_of
from proxy.upstream.shared_headers import SharedHeaders
from proxy.upstream.upstream import Outgoing, Upstream
from tests.fakes import answers
from tests.fakes.answers import Gate
from tests.proxy.conftest import gateway_with, target_for
from tests.proxy.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    import httpx

    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Table = Callable[..., None]

MESSAGES, RESPONSES, COUNT = "/v1/messages", "/v1/responses", "/v1/messages/count_tokens"
CHAT = "/v1/chat/completions"
SIZE = 1_000_000
LIMIT = 3_000_000
TEXT = "ä" * (SIZE // 2)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "bodies", memory=100_000, disk=8 * SIZE)


@pytest.fixture
def served(serve: Callable[..., Served], spool: Spool) -> Served:
    return serve(gateway_with(spool=spool, max_body_size=LIMIT))


@pytest.fixture
def chat_only(table: Table, upstream: FakeUpstream) -> FakeUpstream:
    table(target_for(upstream, type="mlx-lm"))
    return upstream


def asked(path: str, text: str = TEXT) -> dict[str, Any]:
    if path == RESPONSES:
        return {"model": "m1", "input": text, "instructions": "Be brief."}
    return {"model": "m1", "max_tokens": 9, "messages": [{"role": "user", "content": text}]}


@pytest.mark.parametrize("path", [MESSAGES, RESPONSES])
def test_a_large_request_is_told_in_chat_and_answered(
    client: httpx.Client, chat_only: FakeUpstream, spool: Spool, path: str
) -> None:
    answer = client.post(path, json=asked(path))

    assert answer.status_code == 200
    assert chat_only.requests[0].json()["messages"][-1] == {"role": "user", "content": TEXT}
    if path == RESPONSES:
        assert answer.json()["instructions"] == "Be brief."
    wait_for(lambda: not spool.used)


def test_a_large_request_is_counted_where_the_endpoint_cannot(
    client: httpx.Client, chat_only: FakeUpstream
) -> None:
    chat_only.answer("/tokenize", answers.error(404, "not here"))

    answer = client.post(COUNT, json=asked(COUNT))

    assert answer.json()["estimated"] is True
    assert answer.json()["input_tokens"] > SIZE // 20


def largest_held() -> int:
    """Bytes of the largest thing that the gateway, and what it reads JSON with, hold in memory."""
    rooms = [tracemalloc.Filter(True, f"*/{room}/*") for room in ("proxy", "ollaproject", "json")]  # noqa: FBT003
    return max(trace.size for trace in tracemalloc.take_snapshot().filter_traces(rooms).traces)


def test_while_it_is_answered_it_lies_on_the_disk_alone(
    client: httpx.Client, chat_only: FakeUpstream
) -> None:
    gate = Gate()

    def wait_and_answer(request: answers.SeenRequest) -> Iterator[answers.Step]:
        yield gate
        yield from answers.chat(request)

    chat_only.answer(CHAT, wait_and_answer)
    threads = [
        threading.Thread(target=client.post, args=(path,), kwargs={"json": asked(path)})
        for path in (MESSAGES, RESPONSES)
    ]
    tracemalloc.start()
    try:
        for thread in threads:
            thread.start()
        chat_only.wait_for_requests(2)
        # The thread that wrote it lets go of it when it is its turn again.
        wait_for(lambda: largest_held() < SIZE // 2)
    finally:
        tracemalloc.stop()
        for thread in threads:
            gate.open()
            thread.join()


def test_what_it_becomes_counts_as_it_does_and_may_find_no_room(
    client: httpx.Client, chat_only: FakeUpstream, spool: Spool
) -> None:
    held: list[int] = []

    def look_and_answer(request: answers.SeenRequest) -> Iterable[answers.Step]:
        held.append(spool.used)
        return answers.chat(request)

    chat_only.answer(CHAT, look_and_answer)
    assert client.post(MESSAGES, json=asked(MESSAGES)).status_code == 200
    wait_for(lambda: not spool.used)
    assert held[0] > 2 * SIZE

    spool._take(8 * SIZE - 3 * SIZE // 2)  # others have so much
    answer = client.post(MESSAGES, json=asked(MESSAGES))
    assert (answer.status_code, answer.json()["error"]["type"]) == (503, "overloaded_error")
    assert len(chat_only.requests) == 1
    wait_for(lambda: spool.used == 8 * SIZE - 3 * SIZE // 2)


async def test_the_length_that_a_key_allows_is_told_as_well(spool: Spool) -> None:
    """It is noted beside a body that lies in a file."""
    body = await spool.keep(lambda: json.dumps(asked(RESPONSES)).encode())
    assert isinstance(body, Spooled)
    short = estimate.kept_short(RESPONSES.encode(), body, None, 50)
    translation = Responses(short, spool)
    outgoing = Outgoing("POST", RESPONSES.encode(), b"", SharedHeaders([]), [], short, translation)

    told = await translation.outgoing_for(outgoing, target_for("http://127.0.0.1:9", type="mlx-lm"))

    assert json.loads(b"".join(pieces_of(told.body)))["max_tokens"] == 50


@pytest.mark.parametrize("path", [MESSAGES, RESPONSES, COUNT])
def test_what_is_longer_than_it_may_be_is_refused_by_its_head_and_while_it_comes(
    client: httpx.Client, chat_only: FakeUpstream, spool: Spool, path: str
) -> None:
    def endless() -> Iterator[bytes]:
        yield from (b" " * 65536 for _ in range(2 * LIMIT // 65536))

    for content in (b" " * (LIMIT + 1), endless()):
        answer = client.post(path, content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 413
    assert (chat_only.requests, spool.used) == ([], 0)


async def test_an_answer_that_must_be_read_whole_has_an_end(upstream: FakeUpstream) -> None:
    upstream.answer(CHAT, answers.raw(answers.head(200, {"Content-Length": 900_000}), b"x" * 900_000))
    outgoing = Outgoing("POST", CHAT.encode(), b"", SharedHeaders([]), [], b"")
    asking, target = Upstream(), target_for(upstream)
    try:
        answer = await asking.send(target, outgoing)
        assert len(await answer.gather(limit=900_000)) == 900_000
        answer.close()
        answer = await asking.send(target, outgoing)
        with pytest.raises(BrokenAnswerError, match="longer than 500000 bytes"):
            await answer.gather(limit=500_000)
        answer.close()
    finally:
        await asking.aclose()
