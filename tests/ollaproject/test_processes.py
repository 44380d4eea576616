"""The supervisor of `manage.py serve`, with real child processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING

from ollaproject.processes import Program, Supervisor

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


async def test_a_second_signal_kills_what_does_not_stop(tmp_path: Path) -> None:
    out = tmp_path / "out"
    stubborn = f"""{APPEND}
signal.signal(signal.SIGTERM, lambda *_: say("no"))
say("started")
while True: time.sleep(0.05)
"""
    running = asyncio.create_task(Supervisor([program("stubborn", stubborn, OUT=str(out))]).run())
    await until(lambda: lines(out) == ["started"])
    os.kill(os.getpid(), signal.SIGINT)
    await until(lambda: lines(out) == ["started", "no"])

    os.kill(os.getpid(), signal.SIGINT)

    await asyncio.wait_for(running, 5)
