"""How `make` makes the virtual environment: with which Python, and again when that is gone."""

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


def make(folder: Path, *words: str) -> list[str]:
    """With `folder` before the path; what it says, line by line."""
    of_make = ("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "PYTHON")  # of one that runs the tests
    others = {name: value for name, value in os.environ.items() if name not in of_make}
    environment = others | {"PATH": f"{folder}:/usr/bin:/bin"}
    command = ["make", f"VENV={folder}/venv", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def chosen(folder: Path) -> str:
    """What it would run, were it to run anything."""
    (made,) = [line for line in make(folder, "--dry-run", "setup") if line.endswith(f"-m venv {folder}/venv")]
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


def test_everything_is_installed_again_when_its_python_is_gone(tmp_path: Path) -> None:
    """As after an upgrade of Homebrew's."""
    scripts = tmp_path / "venv" / "bin"
    scripts.mkdir(parents=True)
    for name in ("python", "python3"):
        (scripts / name).symlink_to(tmp_path / "gone")
    (tmp_path / "venv" / ".run-installed").touch()

    said = make(tmp_path, "--dry-run", "setup")
    assert any("pip" in line and "install" in line for line in said)

    make(tmp_path, f"PYTHON={sys.executable}", f"{scripts}/python")
    version = [str(scripts / "python"), "-c", "import sys; print(sys.prefix)"]
    done = subprocess.run(version, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(tmp_path / "venv")
    assert make(tmp_path, "--dry-run", "setup") != []

    (tmp_path / "venv" / ".run-installed").touch()
    assert not any("pip" in line for line in make(tmp_path, "--dry-run", "setup"))
