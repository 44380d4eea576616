"""Translations are compiled when a process starts, without GNU gettext, which is on few machines."""

from __future__ import annotations

import gettext
import io
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from django.conf import settings

from ollaproject.catalogs import compiled, keep_compiled
from tests.services import missing

SOURCES = sorted((Path(settings.BASE_DIR) / "locale").rglob("*.po"))
HEADER = r"""
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\n"
"""


def read(catalog: bytes) -> gettext.GNUTranslations:
    return gettext.GNUTranslations(io.BytesIO(catalog))


def words(catalog: gettext.GNUTranslations) -> dict[str | tuple[str, int], str]:
    return {key: text for key, text in catalog._catalog.items() if key}  # type: ignore[attr-defined]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_every_word_is_as_gettext_compiles_it(source: Path, tmp_path: Path) -> None:
    msgfmt = shutil.which("msgfmt") or missing("GNU gettext")
    subprocess.run([msgfmt, "-o", tmp_path / "gettext.mo", source], check=True)

    ours, theirs = read(compiled(source.read_bytes())), read((tmp_path / "gettext.mo").read_bytes())

    assert words(ours) == words(theirs)
    for heading in ("language", "plural-forms"):
        assert ours.info()[heading] == theirs.info()[heading]


@pytest.mark.parametrize(
    "entry",
    [
        'msgid "Fleet"\nmsgstr ""\n',
        '#, fuzzy\nmsgid "Fleet"\nmsgstr "Flotte"\n',
        '#, python-brace-format, fuzzy\nmsgid "Fleet"\nmsgstr "Flotte"\n',
        '#~ msgid "Fleet"\n#~ msgstr "Flotte"\n',
    ],
)
def test_what_has_no_sure_translation_stays_as_it_is(entry: str) -> None:
    catalog = read(compiled(f'{HEADER}\n{entry}\nmsgid "Models"\nmsgstr "Modelle"\n'.encode()))

    assert catalog.gettext("Fleet") == "Fleet"
    assert catalog.gettext("Models") == "Modelle"


def write(po: Path, translation: str) -> None:
    po.parent.mkdir(parents=True, exist_ok=True)
    po.write_text(f'{HEADER}\nmsgid "Fleet"\nmsgstr "{translation}"\n')


def test_what_is_missing_or_of_another_time_is_compiled(tmp_path: Path) -> None:
    po, mo = tmp_path / "source/de/django.po", tmp_path / "target/de/django.mo"
    write(po, "Flotte")
    keep_compiled(tmp_path / "source", tmp_path / "target")
    assert read(mo.read_bytes()).gettext("Fleet") == "Flotte"
    compiled_once = mo.stat().st_ino
    keep_compiled(tmp_path / "source", tmp_path / "target")
    assert mo.stat().st_ino == compiled_once

    write(po, "Verband")
    os.utime(po, (1, 1))  # an older release, installed over a newer one
    keep_compiled(tmp_path / "source", tmp_path / "target")
    assert read(mo.read_bytes()).gettext("Fleet") == "Verband"
    assert [each.name for each in mo.parent.iterdir()] == ["django.mo"]


def test_where_nothing_can_be_written_the_log_says_that_pages_are_in_english(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "source/de/django.po", "Flotte")
    (tmp_path / "target").write_text("a file where the folder should be")

    keep_compiled(tmp_path / "source", tmp_path / "target")

    assert "Pages are in English alone" in caplog.text
