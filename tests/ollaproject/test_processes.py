"""The supervisor of `manage.py serve`, with real child processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from ollaproject.processes import FIRST_RESTART_DELAY_SECONDS, ONE_SIGNAL_SECONDS, Child, Program, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WITHIN_SECONDS = 20


def program(name: str, code: str, *, stop_order: int = 1, **environment: str) -> Program:
    return Program(name, (sys.executable, "-c", code), stop_order, environment)


async def until(true: Callable[[], object]) -> None:
    """Other processes tell by files; there is nothing to await."""
    async with asyncio.timeout(WITHIN_SECONDS):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


APPEND = """
import os, signal, sys, time
def say(word):
    with open(os.environ["OUT"], "a") as out: out.write(word + "\\n")
"""
STEADY = f"""{APPEND}
signal.signal(signal.SIGTERM, lambda *_: (say("stopped " + os.environ["OLLA_PROCESS"]), sys.exit(0)))
say(f"started {{os.getpid()}}")
while True: time.sleep(0.05)
"""
STUBBORN = f"""{APPEND}
signal.signal(signal.SIGTERM, lambda *_: say("no"))
say("started")
while True: time.sleep(0.05)
"""


async def test_it_starts_a_killed_program_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    running = asyncio.create_task(Supervisor([program("one", STEADY, OUT=str(out))]).run())
    await until(lambda: len(lines(out)) == 1)

    os.kill(int(lines(out)[0].split()[1]), signal.SIGKILL)

    await until(lambda: len(lines(out)) == 2)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(running, WITHIN_SECONDS)
    assert lines(out)[-1] == "stopped one"


async def test_it_stops_in_order(tmp_path: Path) -> None:
    out = tmp_path / "out"
    programs = [
        program("last", STEADY, stop_order=2, OUT=str(out)),
        program("first", STEADY, stop_order=1, OUT=str(out)),
    ]
    running = asyncio.create_task(Supervisor(programs).run())
    await until(lambda: len(lines(out)) == 2)

    os.kill(os.getpid(), signal.SIGINT)

    await asyncio.wait_for(running, WITHIN_SECONDS)
    assert lines(out)[2:] == ["stopped first", "stopped last"]


async def test_nobody_is_let_in_while_it_stops(tmp_path: Path) -> None:
    out = tmp_path / "out"
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    one = program("stubborn", STUBBORN, OUT=str(out))
    running = asyncio.create_task(Supervisor([one], listener=listener).run())
    await until(lambda: lines(out) == ["started"])
    socket.create_connection(address).close()

    os.kill(os.getpid(), signal.SIGINT)
    await until(lambda: lines(out) == ["started", "no"])

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    await asyncio.sleep(2 * ONE_SIGNAL_SECONDS)  # or the next signal would pass for the same one
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.wait_for(running, WITHIN_SECONDS)


async def test_a_second_signal_kills_what_does_not_stop(tmp_path: Path) -> None:
    out = tmp_path / "out"
    running = asyncio.create_task(Supervisor([program("stubborn", STUBBORN, OUT=str(out))]).run())
    await until(lambda: lines(out) == ["started"])
    os.kill(os.getpid(), signal.SIGINT)
    await until(lambda: lines(out) == ["started", "no"])

    async with asyncio.timeout(5):
        while not running.done():
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(ONE_SIGNAL_SECONDS / 2)
    await running


async def test_a_signal_that_comes_twice_at_once_is_one(tmp_path: Path) -> None:
    out = tmp_path / "out"
    running = asyncio.create_task(Supervisor([program("one", STEADY, OUT=str(out))]).run())
    await until(lambda: len(lines(out)) == 1)

    for _ in range(2):
        os.kill(os.getpid(), signal.SIGTERM)

    await asyncio.wait_for(running, WITHIN_SECONDS)
    assert lines(out)[1:] == ["stopped one"]


async def test_what_ends_while_others_are_stopped_is_not_started_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    slow = f"""{APPEND}
signal.signal(signal.SIGTERM, lambda *_: (say("stopping"), os.kill(int(lines[0]), signal.SIGKILL),
    time.sleep({3 * FIRST_RESTART_DELAY_SECONDS}), sys.exit(0)))
while not (lines := [line.split()[1] for line in open(os.environ["OUT"]) if "started" in line]):
    time.sleep(0.01)
say("ready")
while True: time.sleep(0.05)
"""
    out.touch()
    programs = [
        program("other", STEADY, stop_order=2, OUT=str(out)),
        program("slow", slow, stop_order=1, OUT=str(out)),
    ]
    running = asyncio.create_task(Supervisor(programs).run())
    await until(lambda: "ready" in lines(out))

    os.kill(os.getpid(), signal.SIGTERM)

    await asyncio.wait_for(running, WITHIN_SECONDS)
    assert [line.split()[0] for line in lines(out)] == ["started", "ready", "stopping"]


async def test_what_has_ended_without_a_word_so_far_may_be_killed(tmp_path: Path) -> None:
    """As for macOS, where nobody may signal what has ended, until it is waited for."""
    out = tmp_path / "out"
    child = Child(program("one", STEADY, OUT=str(out)))
    running = asyncio.create_task(child.keep_running())
    await until(lambda: len(lines(out)) == 1)
    assert child.process is not None

    os.kill(child.process.pid, signal.SIGKILL)
    with contextlib.suppress(psutil.NoSuchProcess):  # asyncio may have waited, in a thread, and not yet told
        while psutil.Process(child.process.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)  # noqa: ASYNC251 - before it tells
    child.kill()

    child.leave()
    await asyncio.wait_for(running, WITHIN_SECONDS)
