"""The benchmark of the checks still runs, and counts what it says it counts."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def test_a_short_run_checks_every_endpoint_in_its_interval() -> None:
    size = ["--endpoints", "5", "--interval", "1", "--seconds", "4"]
    command = [sys.executable, "-m", "bench.health", *size]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert "at the end 5 healthy" in done.stdout
    checks = re.search(r"^checks: (\d+), ", done.stdout, re.MULTILINE)
    assert checks is not None
    assert 10 <= int(checks[1]) <= 25
