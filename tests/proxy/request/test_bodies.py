"""Large bodies: through a file, byte for byte, and gone afterwards."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from endpoints.routing.snapshot import Alias, Snapshot, install, snapshot
from proxy.request.bodies import Edit, Spool, Spooled, edited, pieces_of
from tests.fakes import answers
from tests.fakes.answers import CLOSE
from tests.proxy.conftest import CHAT, chat_body, gateway_with, over_both_servers, target_for
from tests.proxy.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx

    from ollaproject.wire.asgi import Message
    from proxy.request.bodies import Body
    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Table = Callable[..., None]

MEMORY = 100_000


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "bodies", memory=MEMORY, disk=3_000_000)


@pytest.fixture
def served(serve: Callable[..., Served], spool: Spool) -> Served:
    return serve(gateway_with(spool=spool, max_body_size=10_000_000))


def read(spool: Spool, pieces: list[bytes]) -> bytes | Spooled:
    messages: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages[-1]["more_body"] = False

    async def receive() -> Message:
        return messages.pop(0)

    return asyncio.run(spool.read(receive, limit=10_000_000))


@over_both_servers
def test_a_large_body_reaches_a_sibling_with_its_name_changed_and_every_other_byte_kept(
    client: httpx.Client, table: Table, upstreams: Callable[..., FakeUpstream], spool: Spool
) -> None:
    broken, good = upstreams("big"), upstreams("big")
    broken.answer("/v1/chat/completions", answers.raw(CLOSE))
    table(target_for(broken), target_for(good, number=2, priority=1))
    install(Snapshot(revision=2, targets=snapshot().targets, aliases={"alias": Alias(("big",))}))
    picture = '"\\' + "A" * 2_000_000

    answer = client.post(CHAT, json=chat_body("alias", stream=True, picture=picture))

    assert b"MLX" in answer.content
    assert good.requests[0].json() == chat_body(
        "big", stream=True, picture=picture, stream_options={"include_usage": True}
    )
    wait_for(lambda: not spool.used)


def test_a_large_body_gets_what_an_alias_adds_in_a_file_too(
    client: httpx.Client, table: Table, upstream: FakeUpstream, spool: Spool
) -> None:
    quick = Alias(("m1",), defaults={"top_p": 0.9}, overrides={"temperature": 0.6})
    table(target_for(upstream), aliases={"quick": quick})
    picture = '"\\' + "A" * 1_000_000

    assert client.post(CHAT, json=chat_body("quick", temperature=1, picture=picture)).status_code == 200

    assert upstream.requests[0].json() == chat_body("m1", temperature=0.6, picture=picture, top_p=0.9)
    wait_for(lambda: not spool.used)


def test_what_does_not_fit_on_the_disk_is_refused(
    client: httpx.Client, table: Table, upstream: FakeUpstream, spool: Spool
) -> None:
    table(target_for(upstream))

    answer = client.post(CHAT, json=chat_body(picture="A" * 4_000_000))

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
    assert "retry-after" in answer.headers
    assert (upstream.requests, spool.used) == ([], 0)


def test_a_folder_that_cannot_be_written_is_logged_and_the_client_is_told(
    client: httpx.Client,
    table: Table,
    upstream: FakeUpstream,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    table(target_for(upstream))
    (tmp_path / "bodies").touch()  # a file where the folder should be

    answer = client.post(CHAT, json=chat_body(picture="A" * 2_000_000))

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
    assert "cannot be kept in" in caplog.text
    assert client.post(CHAT, json=chat_body()).status_code == 200


def test_nothing_is_left_in_the_folder_and_a_body_is_counted_while_it_lives(
    spool: Spool, tmp_path: Path
) -> None:
    body: Any = read(spool, [b"x" * 60_000] * 3)

    assert isinstance(body, Spooled)
    assert list((tmp_path / "bodies").iterdir()) == []
    assert spool.used == 180_000
    del body
    gc.collect()
    assert spool.used == 0


@settings(max_examples=25, deadline=None)
@given(
    size=some.integers(MEMORY + 2, MEMORY + 700_000),
    edits=some.lists(
        some.tuples(some.floats(0, 1), some.integers(0, 50), some.binary(max_size=9)), max_size=4
    ),
)
def test_edits_say_the_same_of_a_file_as_of_memory(
    tmp_path_factory: pytest.TempPathFactory, size: int, edits: list[tuple[float, int, bytes]]
) -> None:
    spool = Spool(tmp_path_factory.getbasetemp() / "bodies", memory=MEMORY, disk=2**30)
    plain = bytes(range(256)) * (size // 256) + b"!" * (size % 256)
    places = sorted((int(share * (size - 1)), length, by) for share, length, by in edits)
    apart = [
        Edit(start, min(start + length, *(next_ for next_, _, _ in places[number + 1 :]), size), by)
        for number, (start, length, by) in enumerate(places)
    ]

    spooled = read(spool, [plain[: MEMORY + 1], plain[MEMORY + 1 :]])
    assert isinstance(spooled, Spooled)
    one_by_one: Body = spooled
    for each in apart:
        one_by_one = edited(one_by_one, each)

    assert b"".join(pieces_of(one_by_one)) == b"".join(pieces_of(edited(spooled, *apart)))
    assert b"".join(pieces_of(one_by_one)) == edited(plain, *apart)
    assert len(one_by_one) == len(edited(plain, *apart))
