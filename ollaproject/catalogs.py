"""Translations: the .po files of the repository, compiled into the .mo files that Django reads.

Every process looks at its start whether they are there, and writes what is missing or old. So nothing that is
compiled stands in the repository, and only who gathers new words (scripts/messages.py) needs GNU gettext.
"""

from __future__ import annotations

import io
import logging
import os
import tempfile
from pathlib import Path

logger = logging.getLogger(__name__)


def keep_compiled(source: Path, target: Path) -> None:
    """Have a current .mo file below `target` for each .po file below `source`. Logs what cannot be written.

    A compiled file has the time of its source: that says later whether it is of this one.
    """
    for po in sorted(source.rglob("*.po")):
        mo = target / po.relative_to(source).with_suffix(".mo")
        written_at = po.stat().st_mtime_ns
        try:
            if not mo.exists() or mo.stat().st_mtime_ns != written_at:
                _write(mo, compiled(po.read_bytes()), written_at)
        except OSError as error:
            logger.warning("Pages are in English alone: %s cannot be written (%s).", mo, error.strerror)


def compiled(po: bytes) -> bytes:
    """The .mo file of a .po file. What has no translation, or a doubtful one (`fuzzy`), is left out."""
    from babel.messages import mofile, pofile  # noqa: PLC0415 - once after an update, so no other start pays

    mo = io.BytesIO()
    mofile.write_mo(mo, pofile.read_po(io.BytesIO(po)))
    return mo.getvalue()


def _write(path: Path, content: bytes, written_at: int) -> None:
    """Whole or not at all: other processes start at the same time, and read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    os.utime(name, ns=(written_at, written_at))
    Path(name).chmod(0o644)
    Path(name).replace(path)
