"""Starts and stops the programs of a run, each in a session and with a log of its own.

Only what was started here is ever stopped.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bench.proxy import compiled, processes
from bench.proxy.errors import BenchError
from bench.proxy.load import CHAT_PATH
from bench.proxy.machine import on_cpu
from bench.proxy.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

STOP_SECONDS = 20.0
POLL_SECONDS = 0.1
ANSWER_SECONDS = 10.0
LOG_LINES = 30
TRIALS = (
    Phase("trial", connections=1, seconds=1.0),
    Phase("trial", connections=1, seconds=1.0, chunks_per_stream=3),
)


@contextlib.contextmanager
def started(
    command: list[str],
    *,
    log: Path,
    cpu: int | None = None,
    environment: Mapping[str, str] | None = None,
    stop_signal: int = signal.SIGTERM,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program for the length of the block; its output goes to `log`."""
    with log.open("wb") as output, on_cpu(cpu):
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _stop(process, stop_signal)


def _stop(process: subprocess.Popen[bytes], stop_signal: int) -> None:
    if process.poll() is not None:
        return
    process.send_signal(stop_signal)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        # Children first: while their parent runs, their ids are surely still theirs.
        for pid in reversed(processes.tree(process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def stub(port: int, *, folder: Path, cpu: int | None) -> Iterator[tuple[int, int]]:
    """The stub backend on `port` (0: any free one). Gives its port and its process id."""
    log = folder / "stub.log"
    with started([str(compiled.program("stub")), str(port)], log=log, cpu=cpu) as process:
        wait_until(lambda: log.read_text().endswith("\n"), process=process, log=log, seconds=ANSWER_SECONDS)
        said = log.read_text().strip()
        if not said.isdigit():
            raise BenchError(f"The stub did not start: {said}. Choose another port with --stub-port.")
        yield int(said), process.pid


def wait_until(
    ready: Callable[[], object], *, process: subprocess.Popen[bytes], log: Path, seconds: float
) -> None:
    """Wait until `ready()`. Raises BenchError with the end of the log when that does not come."""
    deadline = time.monotonic() + seconds
    while not ready():
        ended = process.poll()
        if ended is not None or time.monotonic() > deadline:
            why = (
                f"ended with exit code {ended}"
                if ended is not None
                else f"was not ready after {seconds:.0f} s"
            )
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
            raise BenchError(f"{' '.join(process.args)} {why}. It printed:\n{tail}")  # type: ignore[arg-type]
        time.sleep(POLL_SECONDS)


def trouble(url: str) -> str:
    """Why the server at `url` does not pass on the stub's answers, plain and streamed; empty when it does."""
    for trial in TRIALS:
        try:
            status, body = _ask(url, trial.body())
        except (OSError, http.client.HTTPException) as error:
            return f"{type(error).__name__}: {error}"
        if status != http.HTTPStatus.OK:
            return f"it answers {status}: {body[:300].decode(errors='replace')}"
        if trial.streams and not body.rstrip().endswith(b"data: [DONE]"):
            return "its stream does not end with [DONE]"
    return ""


def _ask(url: str, body: str) -> tuple[int, bytes]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=ANSWER_SECONDS)
    with contextlib.closing(connection):
        connection.request(
            "POST", parts.path.rstrip("/") + CHAT_PATH, body, {"Content-Type": "application/json"}
        )
        response = connection.getresponse()
        return response.status, response.read()
