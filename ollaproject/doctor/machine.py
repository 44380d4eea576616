"""This machine: what is installed, how it is configured, how much room is left."""

from __future__ import annotations

import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from django.conf import settings
from django.core import checks

from ollaproject.doctor.findings import Finding, Level, ok, problem, warning
from ollaproject.wire import release

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A database that cannot grow loses history, and SQLite's log alone may grow to this much in a busy hour.
LITTLE_BYTES = 2_000_000_000
HARDLY_ANY_BYTES = 200_000_000
BYTES_PER_GIGABYTE = 1_000_000_000


def configuration() -> Iterator[Finding]:
    """Django's checks and ours; those for a deployment only where https says that it is one."""
    found = [
        message
        for message in checks.run_checks(include_deployment_checks=settings.OLLA_HTTPS)
        if message.level >= checks.WARNING and not message.is_silenced()
    ]
    if not found:
        yield ok("settings", f"{_versions()}. Home: {settings.OLLA_HOME}")
    for message in found:
        level = Level.PROBLEM if message.level >= checks.ERROR else Level.WARNING
        yield Finding("settings", level, str(message.msg), str(message.hint or ""))


def _versions() -> str:
    found = [f"ollaproject {release.VERSION}", f"Python {platform.python_version()}"]
    for package in ("django", "mlx"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"without {package}")
    return ", ".join(found)


def disks() -> Iterator[Finding]:
    """The disk of the home and that of the models, once when they are the same."""
    seen = set()
    for what, folder in (("OLLA_HOME", settings.OLLA_HOME), ("OLLA_MODELS_DIR", settings.OLLA_MODELS_DIR)):
        there = _nearest(folder)
        device = there.stat().st_dev
        if device not in seen:
            seen.add(device)
            yield _disk(what, folder, shutil.disk_usage(there).free)


def _nearest(folder: Path) -> Path:
    """The folder itself, or the first above it that exists."""
    return next(each for each in (folder, *folder.parents) if each.exists())


def _disk(what: str, folder: Path, free: int) -> Finding:
    text = f"{free / BYTES_PER_GIGABYTE:,.1f} GB free for {what} ({folder})"
    if free < HARDLY_ANY_BYTES:
        return problem("disk", text, "Make room: without it nothing is written down any more.")
    if free < LITTLE_BYTES:
        return warning("disk", text, f"Make room, or set {what} to a folder on a larger disk.")
    return ok("disk", text)
