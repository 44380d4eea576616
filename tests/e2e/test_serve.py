"""`manage.py serve` without a model: what is started twice, killed or in the way, and what it says then."""

from __future__ import annotations

import functools
import os
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


def test_two_web_processes_share_the_port_and_are_back_by_themselves_when_killed(gateway: Gateway) -> None:
    eventually(lambda: len(web_processes(gateway)) == 2, within=READY_SECONDS)
    one, other = first = web_processes(gateway)

    os.kill(one, signal.SIGKILL)
    assert web_processes(gateway) >= {other}  # nobody was refused
    os.kill(other, signal.SIGKILL)

    # The listening socket is the supervisor's: this waits for the next web process, it is not refused.
    with gateway.signed_in() as browser:
        assert browser.get("/playground/").status_code == httpx.codes.OK
    eventually(lambda: len(web_processes(gateway) - first) == 2, within=READY_SECONDS)
    assert "web-1 was killed by SIGKILL" in gateway.output
    assert "web-2 was killed by SIGKILL" in gateway.output


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
