"""What our hooks make of Daphne, for any application; the streaming tests run over it as well."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from django.core.management import get_commands, load_command_class

from ollaproject.daphne_server import Server
from tests.proxy.wire import raw_client

if TYPE_CHECKING:
    from ollaproject.wire.asgi import Receive, Scope, Send
    from tests.proxy.over_daphne import DaphneServer

ROOT = Path(__file__).resolve().parent.parent.parent
# Of requests that follow one another, each but the first would wait for Daphne's own loop, which looks once a
# second for applications that have failed. The quickest of ours does not, however busy the machine is.
PROMPT_SECONDS, TRIES = 0.5, 5
START_SECONDS = 90.0
STOP_SECONDS = 60.0
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def fails_at_once(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise LookupError("nothing here")


async def fails_halfway(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    raise LookupError("nothing more")


async def returns_halfway(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})


def first_line(port: int) -> tuple[float, bytes]:
    """How long it took to come, and what it was."""
    with raw_client(port) as client:
        started = time.monotonic()
        client.send(GET)
        line = client.read_until(b"\r\n")
        return time.monotonic() - started, line


def whole_wire(port: int) -> tuple[float, bytes]:
    with raw_client(port) as client:
        started = time.monotonic()
        client.send(GET)
        wire = client.read_to_close()
        return time.monotonic() - started, wire


def test_an_application_that_fails_is_a_500_at_once(
    daphne_server: DaphneServer, caplog: pytest.LogCaptureFixture
) -> None:
    with daphne_server.serving_application(fails_at_once) as port:
        answers = [first_line(port) for _ in range(TRIES)]

    assert all(wire.startswith(b"HTTP/1.1 500") for _, wire in answers)
    assert min(seconds for seconds, _ in answers[1:]) < PROMPT_SECONDS
    assert caplog.text.count("LookupError: nothing here") == TRIES


@pytest.mark.parametrize("application", [fails_halfway, returns_halfway])
def test_an_application_that_stops_halfway_cuts_its_answer(
    daphne_server: DaphneServer, application: object
) -> None:
    with daphne_server.serving_application(application) as port:  # type: ignore[arg-type]
        answers = [whole_wire(port) for _ in range(TRIES)]

    for _, wire in answers:
        assert wire.endswith(b"4\r\nhalf\r\n")
    assert min(seconds for seconds, _ in answers[1:]) < PROMPT_SECONDS


def test_an_application_that_does_not_listen_is_cancelled_when_its_client_leaves(
    daphne_server: DaphneServer,
) -> None:
    waiting, cancelled = threading.Event(), threading.Event()

    async def never_listens(_scope: Scope, receive: Receive, _send: Send) -> None:
        await receive()
        waiting.set()
        try:
            while True:
                await receive()  # and takes no notice of what it is told
        finally:
            cancelled.set()

    with daphne_server.serving_application(never_listens) as port:
        with raw_client(port) as client:
            client.send(GET)
            assert waiting.wait(STOP_SECONDS)
        assert cancelled.wait(STOP_SECONDS)


def test_nothing_is_remembered_of_a_request_that_is_over(daphne_server: DaphneServer) -> None:
    async def answers(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"whole"})

    async def records() -> int:
        await asyncio.sleep(0)  # what has just ended is noticed in the loop's next round
        return sum("disconnected" in record for record in daphne_server.server.connections.values())

    with daphne_server.serving_application(answers) as port, raw_client(port) as client:
        for _ in range(3):
            client.send(GET)
            client.read_until(b"0\r\n\r\n")
        assert daphne_server.run(records()) == 0


def test_runserver_has_the_hooks() -> None:
    command = load_command_class(get_commands()["runserver"], "runserver")

    assert command.server_cls is Server  # type: ignore[attr-defined]


def test_it_serves_from_the_command_line_and_stops_when_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-m", "ollaproject.daphne_server", "ollaproject.asgi:application"]
        running = subprocess.Popen(
            [*command, "--fd", str(listener.fileno())],
            cwd=ROOT,
            env=os.environ | {"OLLA_HOME": str(tmp_path), "DATABASE_URL": ""},
            pass_fds=[listener.fileno()],
        )
        try:
            # The listener is there before the process is: the request waits in its backlog.
            port = listener.getsockname()[1]
            answer = httpx.get(
                f"http://127.0.0.1:{port}/internal/health", timeout=START_SECONDS, trust_env=False
            )
            running.send_signal(signal.SIGTERM)
            code = running.wait(STOP_SECONDS)
        finally:
            running.kill()
            running.wait()

    assert answer.json()["status"] == "healthy"
    assert code == 0
