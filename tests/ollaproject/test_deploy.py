"""The units in deploy/: launchd and systemd can read them, and what they start can be started like that."""

from __future__ import annotations

import plistlib
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.core.management import get_commands, load_command_class

from ollaproject.processes import STOP_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).resolve().parents[2]
PLISTS = sorted(ROOT.glob("deploy/launchd/*.plist"))
UNITS = sorted(ROOT.glob("deploy/systemd/*.service"))
DOCUMENTED = "".join((ROOT / "docs" / name).read_text() for name in ("configuration.md", "local-models.md"))


def name(path: Path) -> str:
    return path.name


def check(words: list[str], variables: Iterable[str]) -> None:
    python, script, command, *options = words
    assert (python.endswith("/.venv/bin/python"), script) == (True, "manage.py")
    parser = load_command_class(get_commands()[command], command).create_parser("manage.py", command)
    parser.parse_args(options)
    assert [each for each in variables if f"`{each.removesuffix('_FILE')}" not in DOCUMENTED] == []


@pytest.mark.parametrize("path", PLISTS, ids=name)
def test_launchd_can_read_and_start_it(path: Path) -> None:
    unit = plistlib.loads(path.read_bytes())

    assert unit["Label"] == path.stem
    assert unit["RunAtLoad"]
    assert unit["UserName"]  # a daemon, which may reach the local network, but not root
    assert unit["ProcessType"] == "Interactive"  # launchd throttles all others
    assert unit["ExitTimeOut"] >= 2 * STOP_SECONDS
    check(unit["ProgramArguments"], unit["EnvironmentVariables"])


@pytest.mark.parametrize("path", UNITS, ids=name)
def test_systemd_can_read_and_start_it(path: Path, tmp_path: Path) -> None:
    pairs = [line.split("=", 1) for line in path.read_text().splitlines() if "=" in line and line[0] != "#"]
    (start,) = [value for key, value in pairs if key == "ExecStart"]
    check(shlex.split(start), [value.partition("=")[0] for key, value in pairs if key == "Environment"])

    analyze = shutil.which("systemd-analyze")
    if analyze is None:  # as on a Mac
        return
    unit = tmp_path / path.name
    unit.write_text(path.read_text().replace("/opt/ollaproject/.venv/bin/python", "/bin/sh"))
    done = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, path.name in done.stderr) == (0, False), done.stderr
