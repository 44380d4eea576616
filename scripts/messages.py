"""Gathers what is to be translated: `python scripts/messages.py`. Needs GNU gettext.

`locale/de/LC_MESSAGES/django.po` has the words of templates and Python, `djangojs.po` those of scripts. With
`--check` nothing is written: it says what has no translation, and ends with 1 when that is more than a tenth.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
LOCALE: Final = ROOT / "locale"
LEFT_OUT: Final = ("tests/*", "bench/*", "scripts/*", "endpoints/static/vendor/*", ".venv/*", "var/*")
OPTIONS: Final = ("--locale", "de", "--no-location", "--no-wrap", "--no-obsolete")


def gather() -> None:
    """Write the .po files anew, with the translations that are known, and check them."""
    left_out = [word for pattern in LEFT_OUT for word in ("--ignore", pattern)]
    with tempfile.TemporaryDirectory(prefix="olla-messages-") as home:
        environment = {**os.environ, "OLLA_HOME": home}
        for domain in ("django", "djangojs"):
            command = [sys.executable, "manage.py", "makemessages", "--domain", domain, *OPTIONS, *left_out]
            subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    for path in LOCALE.rglob("*.po"):
        # The time of a run is no change.
        lines = [line for line in path.read_text().splitlines() if not line.startswith('"POT-Creation-Date')]
        path.write_text("\n".join(lines) + "\n")
        subprocess.run(["msgfmt", "--check", "-o", os.devnull, path], check=True)


def contents() -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(LOCALE.rglob("*.po"))}


def missing() -> tuple[list[str], int]:
    """What has no translation, and how many words there are."""
    without, total = [], 0
    for path in LOCALE.rglob("*.po"):
        for entry in path.read_text().split("\n\n")[1:]:
            words = re.search(r'^msgid "(.*)"$', entry, re.MULTILINE)
            if words is not None:
                total += 1
                if re.search(r'^msgstr(\[\d\])? ""$', entry, re.MULTILINE) or "#, fuzzy" in entry:
                    without.append(words[1])
    return without, total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing, say what has no translation")
    check = parser.parse_args().check
    if shutil.which("msgfmt") is None:
        sys.exit("GNU gettext is not installed: apt-get install gettext, or brew install gettext.")
    before = contents()
    gather()
    without, total = missing()
    if check:
        for path, raw in before.items():
            path.write_bytes(raw)
    print(f"{total} words, {len(without)} of them without a translation", *without, sep="\n  ")
    return int(check and len(without) * 10 > total)


if __name__ == "__main__":
    sys.exit(main())
