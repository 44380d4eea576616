"""The server stops while requests run: their clients are told, and nothing is logged as a fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes import answers
from tests.fakes.answers import HANG
from tests.proxy.conftest import gateway_with, listening, target_for
from tests.proxy.wire import raw_client

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.upstream import FakeUpstream

    Table = Callable[..., None]

PATH = "/v1/chat/completions"


@pytest.fixture(autouse=True)
def _one_endpoint(table: Table, upstream: FakeUpstream) -> None:
    table(target_for(upstream))


def test_a_running_stream_is_cut_visibly(upstream: FakeUpstream, caplog: pytest.LogCaptureFixture) -> None:
    upstream.answer(PATH, answers.sse([b"data: 1\n\n"], end=[HANG]))
    with listening() as server, server.serving(gateway_with()) as port, raw_client(port) as client:
        client.post(stream=True)
        client.read_until(b"data: 1")
        server.should_exit = True
        rest = client.read_to_close()

    assert b'"code":"shutting_down"' in rest
    assert not rest.endswith(b"0\r\n\r\n")
    upstream.wait_for_departure()
    assert "Traceback" not in caplog.text
    assert "ASGI callable" not in caplog.text


def test_a_waiting_request_is_told_to_come_again(
    upstream: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.answer(PATH, answers.raw(HANG))
    with listening() as server, server.serving(gateway_with()) as port, raw_client(port) as client:
        client.post()
        upstream.wait_for_requests(1)
        server.should_exit = True
        answer = client.read_to_close()

    assert answer.startswith(b"HTTP/1.1 503")
    assert b'"code":"shutting_down"' in answer
    assert "Traceback" not in caplog.text
