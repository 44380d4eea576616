"""Translations: the .po files of the repository, compiled into the .mo files that Django reads.

Every process looks at its start whether they are there, and writes what is missing or old. So nothing that is
compiled stands in the repository, and only who gathers new words (scripts/messages.py) needs GNU gettext.
"""

from __future__ import annotations

import ast
import logging
import os
import re
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

logger = logging.getLogger(__name__)

MAGIC, FORMAT_REVISION, HEADER_BYTES, ROW_BYTES = 0x950412DE, 0, 28, 8
# Comments; then what is to be translated, in one line or several; then what it is translated to.
ENTRY: Final = re.compile(
    r'((?:#.*\n)*)((?:msg(?:ctxt|id|id_plural) ".*"\n(?:".*"\n)*)+(?:msgstr(?:\[\d\])? ".*"\n(?:".*"\n)*)+)'
)
FUZZY: Final = re.compile(r"^#,.*\bfuzzy\b", re.MULTILINE)
LINE: Final = re.compile(r'^(?:(\S+) )?(".*")$')
CONTEXT_END, PLURAL_END = "\x04", "\x00"

Entry = dict[str, str]  # a keyword such as `msgid` or `msgstr[1]`, and its text


def keep_compiled(source: Path, target: Path) -> None:
    """Have a current .mo file below `target` for each .po file below `source`. Logs what cannot be written.

    A compiled file has the time of its source: that says later whether it is of this one.
    """
    for po in sorted(source.rglob("*.po")):
        mo = target / po.relative_to(source).with_suffix(".mo")
        written_at = po.stat().st_mtime_ns
        try:
            if not mo.exists() or mo.stat().st_mtime_ns != written_at:
                _write(mo, compiled(po.read_text(encoding="utf-8")), written_at)
        except OSError as error:
            logger.warning("Pages are in English alone: %s cannot be written (%s).", mo, error.strerror)


def compiled(text: str) -> bytes:
    """The .mo file of a .po file. What has no translation, or a doubtful one (`fuzzy`), is left out."""
    rows = sorted(_row(entry) for entry in _entries(text) if all(_translations(entry)))
    table = HEADER_BYTES + 2 * ROW_BYTES * len(rows)
    places, strings = bytearray(), bytearray()
    for column in (0, 1):
        for row in rows:
            places += struct.pack("<II", len(row[column]), table + len(strings))
            strings += row[column] + b"\0"
    translations_at = HEADER_BYTES + ROW_BYTES * len(rows)
    head = struct.pack(
        "<7I", MAGIC, FORMAT_REVISION, len(rows), HEADER_BYTES, translations_at, 0, table
    )  # no hash table
    return bytes(head + places + strings)


def _entries(text: str) -> Iterator[Entry]:
    for comments, body in ENTRY.findall(f"{text}\n"):
        if not FUZZY.search(comments):
            yield _entry(body.splitlines())


def _entry(lines: Iterable[str]) -> Entry:
    entry: Entry = {}
    keyword = ""
    for line in lines:
        named, quoted = LINE.findall(line)[0]
        keyword = named or keyword
        entry[keyword] = entry.get(keyword, "") + ast.literal_eval(quoted)
    return entry


def _translations(entry: Entry) -> list[str]:
    return [text for keyword, text in sorted(entry.items()) if keyword.startswith("msgstr")]


def _row(entry: Entry) -> tuple[bytes, bytes]:
    key = entry["msgid"]
    if "msgctxt" in entry:
        key = f"{entry['msgctxt']}{CONTEXT_END}{key}"
    if "msgid_plural" in entry:
        key = f"{key}{PLURAL_END}{entry['msgid_plural']}"
    return key.encode(), PLURAL_END.join(_translations(entry)).encode()


def _write(path: Path, content: bytes, written_at: int) -> None:
    """Whole or not at all: other processes start at the same time, and read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    os.utime(name, ns=(written_at, written_at))
    Path(name).chmod(0o644)
    Path(name).replace(path)
