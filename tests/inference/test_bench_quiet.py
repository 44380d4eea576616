"""The benchmark waits for a server that has failed, until it has done with what it had."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil
import pytest

from bench.inference import over_http
from bench.inference.quiet import LOOK_SECONDS, becomes_quiet, wait_until_quiet
from bench.inference.servers import Server
from tests.fakes import answers
from tests.fakes.answers import RESET
from tests.fakes.upstream import FakeUpstream
from tests.inference.test_bench_over_http import CHAT, options

if TYPE_CHECKING:
    from collections.abc import Iterator

BUSY_SECONDS = 2.5
BUSY = """
import sys, time
print(flush=True)
until = time.monotonic() + float(sys.argv[1])
while time.monotonic() < until:
    pass
print(flush=True)
time.sleep(600)
"""
PARENT = """
import subprocess, sys
subprocess.run([sys.executable, "-c", *sys.argv[1:]])
"""


@contextmanager
def busy(seconds: float, *, by_a_child: bool = False) -> Iterator[subprocess.Popen[str]]:
    """A process that computes, or a child of it does, for so long, and then waits; it has begun."""
    work = [BUSY, str(seconds)]
    code = [PARENT, *work] if by_a_child else work
    with subprocess.Popen([sys.executable, "-c", *code], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline()
            yield process
        finally:
            for each in [*_children(process.pid), process.pid]:
                psutil.Process(each).kill()


def _children(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children()]


@pytest.mark.parametrize("by_a_child", [False, True])
def test_it_waits_until_a_process_has_done_with_what_it_had(*, by_a_child: bool) -> None:
    with busy(BUSY_SECONDS, by_a_child=by_a_child) as process:
        began = time.monotonic()
        assert becomes_quiet(process.pid, most_seconds=60)
        assert time.monotonic() - began > BUSY_SECONDS - LOOK_SECONDS


def test_it_does_not_wait_for_ever(capsys: pytest.CaptureFixture[str]) -> None:
    with busy(600) as process:
        server = Server("busy", "http://127.0.0.1:1", "m1", process.pid)
        began = time.monotonic()
        wait_until_quiet(server, "round 1", most_seconds=2)
        assert time.monotonic() - began < 2 + 2 * LOOK_SECONDS
    assert "busy still computes" in capsys.readouterr().out


def test_a_process_that_is_gone_is_quiet() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert becomes_quiet(gone.pid, most_seconds=60)


def test_after_a_failed_measurement_it_waits_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeUpstream() as upstream, busy(BUSY_SECONDS) as process:
        upstream.answer(CHAT, answers.raw(answers.STREAM_HEAD, RESET))
        began = time.monotonic()
        assert not over_http.measure([Server("breaking", upstream.url, "m1", process.pid)], options("shared"))
        assert time.monotonic() - began > BUSY_SECONDS - LOOK_SECONDS
    left_out, waited = capsys.readouterr().out.splitlines()
    assert "left out: ReadError" in left_out
    assert waited.startswith("round 1  breaking")
    assert waited.endswith("s: breaking was quiet again")
