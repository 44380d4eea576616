"""`manage.py serve` without a model: what is started twice, killed or in the way, and what it says then."""

from __future__ import annotations

import functools
import os
import re
import shutil
import signal
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.e2e.gateway import READY_SECONDS, Gateway, dead, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ALONE = "--gateway-only"
KILLED = ["web-1 was killed by SIGKILL", "web-2 was killed by SIGKILL"]


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """With two web processes. No test stops it."""
    with Gateway(options=(ALONE, "--workers", "2")) as running:
        running.wait_until_it_serves()
        yield running
        assert running.stop() == 0
    shutil.rmtree(running.home)


def test_a_second_start_says_nothing_twice_and_nothing_outlives_it_when_it_is_killed(tmp_path: Path) -> None:
    with Gateway(options=(ALONE,), home=tmp_path) as gateway:
        gateway.wait_until_it_serves()
        assert "Sign in as admin" in gateway.output
        assert gateway.stop(signal.SIGTERM) == 0
        gateway.printed.clear()

        gateway.start()
        gateway.wait_until_it_serves()
        assert "Sign in as" not in gateway.output
        assert "Preparing the database" not in gateway.output

        processes = gateway.processes()
        assert set(processes) == {"web", "worker", "beat"}
        gateway.stop(signal.SIGKILL)
        for pid in processes.values():
            eventually(functools.partial(dead, pid), within=READY_SECONDS)


def web_processes(gateway: Gateway) -> set[int]:
    """Which web processes answer: each new connection is taken by any of them."""

    def who_answers() -> int:
        with gateway.client() as client:
            answered: int = client.get("/internal/process").json()["pid"]
            return answered

    return {who_answers() for _ in range(12)}


def two_web_processes(gateway: Gateway, *, beside: set[int]) -> set[int]:
    """Two that have answered, `beside` those known. On a busy machine one may take many in a row."""
    found: set[int] = set()

    def both_have_answered() -> bool:
        found.update(web_processes(gateway) - beside)
        return len(found) == 2

    eventually(both_have_answered, within=READY_SECONDS, what=lambda: (found, gateway.output))
    return found


def kill(pid: int) -> None:
    """And wait until it takes no connection along any more."""
    os.kill(pid, signal.SIGKILL)
    eventually(functools.partial(dead, pid), within=READY_SECONDS)


def restarts(gateway: Gateway) -> list[str]:
    """What it has said of web processes that it starts again."""
    return sorted(re.findall(r"(web-\d .*); it is started again", gateway.output))


def test_two_web_processes_share_the_port_and_are_back_by_themselves_when_killed(gateway: Gateway) -> None:
    one, other = first = two_web_processes(gateway, beside=set())

    kill(one)
    eventually(lambda: other in web_processes(gateway), within=READY_SECONDS)  # nobody was refused
    kill(other)

    # The listening socket is the supervisor's: this waits for the next web process, it is not refused.
    with gateway.signed_in() as browser:
        assert browser.get("/playground/").status_code == httpx.codes.OK
    two_web_processes(gateway, beside=first)
    eventually(lambda: restarts(gateway) == KILLED, within=READY_SECONDS, what=lambda: gateway.output)


@pytest.mark.parametrize(
    ("in_the_way", "sentence"), [("home", "already uses"), ("port", "choose another one with --port")]
)
def test_a_home_or_a_port_that_is_taken_is_a_sentence(
    gateway: Gateway, tmp_path: Path, in_the_way: str, sentence: str
) -> None:
    places = {"home": tmp_path, in_the_way: getattr(gateway, in_the_way)}
    with Gateway(options=(ALONE,), **places) as second:
        assert second.process is not None
        assert second.process.wait(READY_SECONDS) == 1
        eventually(lambda: sentence in second.output, within=READY_SECONDS, what=lambda: second.output)
        assert "Traceback" not in second.output
