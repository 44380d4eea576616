"""A model's process, seen by a supervisor that did not start it."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from inference.local.model_process import ModelProcess
from inference.local.run import RunFile

if TYPE_CHECKING:
    from collections.abc import Iterator

MEBIBYTE = 1024**2
FILLED = 64 * MEBIBYTE
# Other bytes in each page, so that no system can keep them in less.
FILL = f"import os; held = os.urandom({FILLED}); print('filled', flush=True); input()"
CLOCK_STEP_SECONDS = 5.0


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """It holds some memory until it is killed."""
    command = [sys.executable, "-c", FILL]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as running:
        assert running.stdout is not None
        running.stdout.readline()
        yield running
        running.kill()


@pytest.fixture
def adopted(child: subprocess.Popen[bytes]) -> ModelProcess:
    found = ModelProcess.adopt(RunFile(child.pid, psutil.Process(child.pid).create_time()))
    assert found is not None
    return found


def test_it_is_known_until_it_ends(child: subprocess.Popen[bytes], adopted: ModelProcess) -> None:
    assert adopted.exit_code is None

    child.kill()
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:  # nobody has waited for it
        time.sleep(0.01)

    assert adopted.exit_code is not None


def test_another_process_with_its_number_is_not_taken_for_it(child: subprocess.Popen[bytes]) -> None:
    assert ModelProcess.adopt(RunFile(child.pid, psutil.Process(child.pid).create_time() - 1)) is None


@pytest.mark.skipif(not psutil.LINUX, reason="sets the clock that psutil reads on Linux")
def test_it_is_the_same_after_the_clock_was_set(
    adopted: ModelProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a Mac wakes up, or NTP corrects a clock: when a process began is then said differently."""
    booted = psutil.boot_time() + CLOCK_STEP_SECONDS
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: booted)
    assert psutil.Process(adopted.pid).create_time() - adopted.began == pytest.approx(CLOCK_STEP_SECONDS)

    assert adopted.exit_code is None


def test_what_it_holds_is_counted(adopted: ModelProcess) -> None:
    held = adopted.memory_bytes
    assert held is not None
    assert FILLED < held < 2 * FILLED
