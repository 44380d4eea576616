"""Which Python `make` makes the virtual environment with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def python(folder: Path, name: str, *, system: str, machine: str, version: str = "3, 13") -> None:
    """A command that takes itself for a Python of that kind."""
    kind = f"import platform, sys; sys.version_info = ({version}); "
    kind += f"platform.system = lambda: '{system}'; platform.machine = lambda: '{machine}'"
    (folder / name).write_text(f'#!/bin/sh\nexec {sys.executable} -c "{kind}; $2"\n')
    (folder / name).chmod(0o755)


def chosen(folder: Path) -> str:
    """What make would run, were it to run anything."""
    of_make = ("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "PYTHON")  # of one that runs the tests
    others = {name: value for name, value in os.environ.items() if name not in of_make}
    environment = others | {"PATH": f"{folder}:/usr/bin:/bin"}
    command = ["make", "--dry-run", "setup", f"VENV={folder}/venv"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    (made,) = [line for line in done.stdout.splitlines() if line.endswith(f"-m venv {folder}/venv")]
    return made.split()[0]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ({"system": "Darwin", "machine": "arm64"}, "python3"),
        ({"system": "Linux", "machine": "x86_64"}, "python3"),
        (
            {"system": "Darwin", "machine": "x86_64"},
            "python3.14",
        ),  # an Intel Mac's, which MLX has nothing for
        ({"system": "Darwin", "machine": "arm64", "version": "3, 9"}, "python3.14"),  # Xcode's
    ],
)
def test_it_is_one_that_everything_runs_on(kind: dict[str, str], name: str, tmp_path: Path) -> None:
    python(tmp_path, "python3", **kind)
    python(tmp_path, "python3.14", system="Darwin", machine="arm64")

    assert chosen(tmp_path) == name
