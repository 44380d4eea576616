"""What a request has made goes with it. Left to the garbage collector it would pile up until that comes by.

A thousand streams are 17 MiB, and the collector looks at what has lived for so long every hour or so.
"""

from __future__ import annotations

import gc
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.fakes import answers
from tests.fakes.answers import CLOSE, HANG
from tests.proxy.conftest import target_for
from tests.proxy.waiting import wait_for
from tests.proxy.wire import raw_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Table = Callable[..., None]

PATH = "/v1/chat/completions"
EVENT = b"data: 1\n\n"
OURS = ("proxy.", "ollaproject.", "endpoints.", "uvloop.", "httptools.", "uvicorn.")


@contextmanager
def left_to_the_collector() -> Iterator[Counter[str]]:
    """Counts, by class, what only the collector can free of that which the block has made and let go."""
    found: Counter[str] = Counter()
    gc.collect()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        names = (f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.garbage)
        found.update(name for name in names if name.startswith(OURS))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


# What is answered, and up to where the client reads before it leaves.
KINDS = {
    "plain": (answers.chat, b"}]"),
    "stream": (answers.sse([EVENT]), b"0\r\n\r\n"),
    "broken": (answers.raw(CLOSE), b"upstream_error"),
    "cut": (answers.sse([EVENT], end=[CLOSE]), b"upstream_disconnected"),
    "client leaves": (answers.sse([EVENT], end=[HANG]), EVENT),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_leaves_nothing_to_the_garbage_collector(
    served: Served, upstream: FakeUpstream, table: Table, kind: str
) -> None:
    table(target_for(upstream))
    answer, end = KINDS[kind]
    upstream.answer(PATH, answer)
    closed = 0

    def ask() -> None:
        nonlocal closed
        with raw_client(served.port) as client:
            client.post(stream=kind != "plain")
            client.read_until(end)
        closed += 1
        wait_for(lambda: served.gateway.records._meter.pending.requests == closed)

    ask()  # what is made once
    with left_to_the_collector() as found:
        for _ in range(3):
            ask()

    assert not found
