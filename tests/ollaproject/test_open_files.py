"""Server processes take many connections although they were started with few files, as macOS starts them."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from bench.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
FILES, CONNECTIONS = 128, 200
START_SECONDS, ANSWER_SECONDS, STOP_SECONDS = 60, 20, 30


@contextmanager
def started_with_few_files(home: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """`python WORDS`, with a home of its own."""
    command = ["sh", "-c", f'ulimit -S -n {FILES} && exec "$0" "$@"', sys.executable, *words]
    environment = os.environ | {"OLLA_HOME": str(home), "DATABASE_URL": ""}
    running = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    try:
        yield running
    finally:
        running.kill()
        running.wait(STOP_SECONDS)


def connect(port: int, running: subprocess.Popen[bytes]) -> socket.socket:
    """As soon as it listens."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        assert running.poll() is None
        assert time.monotonic() < deadline
        with contextlib.suppress(ConnectionRefusedError):
            return socket.create_connection(("127.0.0.1", port))
        time.sleep(0.1)


@pytest.mark.parametrize(
    "words",
    [
        ["-m", "ollaproject.web", "--port"],
        ["-m", "ollaproject.daphne_server", "ollaproject.asgi:application", "--port"],
    ],
    ids=["web", "daphne"],
)
def test_a_server_has_more_connections_than_it_was_given_files(tmp_path: Path, words: list[str]) -> None:
    port = free_port()
    with started_with_few_files(tmp_path, *words, str(port)) as running, ExitStack() as held:
        held.enter_context(connect(port, running))
        for _ in range(CONNECTIONS):
            held.enter_context(socket.create_connection(("127.0.0.1", port)))
        url = f"http://127.0.0.1:{port}/livez"
        answer = httpx.get(url, timeout=ANSWER_SECONDS, trust_env=False)
    assert answer.status_code == httpx.codes.OK


@pytest.mark.skipif(not hasattr(psutil.Process, "rlimit"), reason="only Linux tells the limits of others")
def test_the_worker_checks_more_endpoints_at_once_than_it_was_given_files(tmp_path: Path) -> None:
    words = ["-m", "celery", "--app", "ollaproject", "worker", "--pool", "threads", "--concurrency", "1"]
    with started_with_few_files(tmp_path, *words) as running:
        process, deadline = psutil.Process(running.pid), time.monotonic() + START_SECONDS
        # Before the shell has become a worker, it has the files of whoever runs the tests.
        while process.cmdline()[0] == "sh" or process.rlimit(psutil.RLIMIT_NOFILE)[0] <= FILES:
            assert running.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
