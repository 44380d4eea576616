"""Servers on loopback that take a model's time without doing its work: prompt cache and speed are modelled.

Each reads prompts one after another, at so many tokens a second that its cache does not hold, and writes
answers side by side, the slower the more there are. Three real ones would share this machine's cores.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from bench.inference.servers import Server
from bench.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

READ_TOKENS_PER_SECOND, WRITTEN_TOKENS_PER_SECOND = 600.0, 45.0
SLOWER_PER_STREAM = 0.12
ANSWER_TOKENS = 16
MODELS = {
    "object": "list",
    "data": [{"id": "bench", "object": "model", "created": 1, "owned_by": "vllm-mlx"}],
}
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Fake:
    """A word counts as a token. Its cache forgets nothing."""

    def __init__(self) -> None:
        self._cache: set[int] = set()
        self._free_at = 0.0
        self._streams = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError), contextlib.closing(writer):
            while True:
                path, body = await _request(reader)
                if path == "/v1/chat/completions":
                    await self._chat(writer, json.loads(body))
                else:
                    writer.write(_whole({"status": "healthy"} if path == "/health" else MODELS))
                await writer.drain()

    async def _chat(self, writer: asyncio.StreamWriter, asked: dict[str, Any]) -> None:
        words = [word for message in asked["messages"] for word in message["content"].split()]
        prefixes = list(accumulate(words, lambda before, word: hash((before, word)), initial=0))[1:]
        cached = next(
            (count for count, each in enumerate(prefixes) if each not in self._cache), len(prefixes)
        )
        self._cache.update(prefixes)
        now = asyncio.get_running_loop().time()
        self._free_at = max(now, self._free_at) + (len(words) - cached) / READ_TOKENS_PER_SECOND
        await asyncio.sleep(self._free_at - now)
        writer.write(STREAM_HEAD)
        self._streams += 1
        for _ in range(ANSWER_TOKENS):
            writer.write(_chunk({"choices": [{"index": 0, "delta": {"content": "word "}}]}))
            await asyncio.sleep((1 + SLOWER_PER_STREAM * (self._streams - 1)) / WRITTEN_TOKENS_PER_SECOND)
        self._streams -= 1
        details = {"cached_tokens": cached}
        usage = {
            "prompt_tokens": len(words),
            "completion_tokens": ANSWER_TOKENS,
            "prompt_tokens_details": details,
        }
        writer.write(_chunk({"choices": [], "usage": usage}) + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")


async def _request(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    lines = head.split("\r\n")
    lengths = [int(line.partition(":")[2]) for line in lines if line.lower().startswith("content-length:")]
    return lines[0].split()[1], await reader.readexactly(lengths[0]) if lengths else b""


def _whole(document: dict[str, Any]) -> bytes:
    body = json.dumps(document).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        len(body),
        body,
    )


def _chunk(document: dict[str, Any]) -> bytes:
    event = f"data: {json.dumps({'id': 'c', 'object': 'chat.completion.chunk', **document})}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(event), event)


@contextlib.contextmanager
def fakes(count: int) -> Iterator[list[Server]]:
    """So many of them, in a thread, until the end of the context."""
    ports = [free_port() for _ in range(count)]
    loop, ready = asyncio.new_event_loop(), threading.Event()

    async def listen() -> None:
        for port in ports:
            await asyncio.start_server(Fake().serve, "127.0.0.1", port)
        ready.set()

    def run() -> None:
        loop.create_task(listen())
        loop.run_forever()

    threading.Thread(target=run, name="fakes", daemon=True).start()
    ready.wait()
    try:
        yield [Server("fake", f"http://127.0.0.1:{port}", "bench") for port in ports]
    finally:
        loop.call_soon_threadsafe(loop.stop)
