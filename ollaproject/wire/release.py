"""Which release this is, as pyproject.toml says it. The gateway and the model server both tell it."""

from __future__ import annotations

import tomllib
from pathlib import Path

PROJECT_FILE = Path(__file__).resolve().parent.parent.parent / "pyproject.toml"


def _version() -> str:
    return str(tomllib.loads(PROJECT_FILE.read_text())["project"]["version"])


VERSION = _version()
