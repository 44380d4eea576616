"""The load of the benchmark, against a real server: it counts what the server says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bench.inference import load
from bench.inference.servers import Server
from tests.inference.conftest import TINY

if TYPE_CHECKING:
    from tests.inference.servers import Running


def test_it_counts_the_tokens_of_a_stream_and_sees_its_pieces(tiny_server: Running) -> None:
    async def ask() -> load.Stream:
        async with load.new_client() as client:
            server = Server("tiny", tiny_server.url, TINY)
            return await load.ask(client, server, "Say something.", 20, load.Stream())

    stream = asyncio.run(ask())
    assert 1 <= stream.tokens <= 20
    assert 1 <= len(stream.times) <= stream.tokens
    assert stream.first_token_seconds > 0
    assert stream.times == sorted(stream.times)


def test_it_sends_prompts_of_about_the_length_it_says_and_never_the_same(tiny_server: Running) -> None:
    server = Server("tiny", tiny_server.url, TINY)
    times = asyncio.run(load.first_tokens(server, "here"))
    assert list(times) == ["first", "repeated", "shared"]
    assert load.words(50, seed=1) != load.words(50, seed=2)
    assert len(load.words(50, seed=1).split()) == 50
