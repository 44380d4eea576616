"""Fetches the JavaScript that is kept in this repository, with its licence: `python scripts/vendor.py`.

It comes from npm, in the versions and with the hashes written here, and is served from here: no CDN, no build
step. A file that differs from what is written is refused.
"""

from __future__ import annotations

import base64
import hashlib
import io
import sys
import tarfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
REGISTRY: Final = "https://registry.npmjs.org"
TIMEOUT_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Package:
    """`integrity` is npm's own of the tarball. `files`: path in it → path here, below `folder`."""

    name: str
    version: str
    integrity: str
    folder: str
    files: dict[str, str]


PACKAGES: Final = (
    Package(
        name="uplot",
        version="1.6.32",
        integrity="sha512-KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw==",
        folder="endpoints/static/vendor/uplot",
        files={
            "package/dist/uPlot.iife.min.js": "uPlot.js",
            "package/dist/uPlot.min.css": "uPlot.css",
            "package/LICENSE": "LICENSE",
        },
    ),
)


def fetch(package: Package) -> bytes:
    """The tarball. Ends the program when it is not the one that is written here."""
    url = f"{REGISTRY}/{package.name}/-/{package.name}-{package.version}.tgz"
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - https, written above
        raw: bytes = answer.read()
    found = "sha512-" + base64.b64encode(hashlib.sha512(raw).digest()).decode()
    if found != package.integrity:
        sys.exit(f"{url} is not what it was: {found}")
    return raw


def main() -> None:
    for package in PACKAGES:
        folder = ROOT / package.folder
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(fileobj=io.BytesIO(fetch(package)), mode="r:gz") as archive:
            for inside, here in package.files.items():
                member = archive.extractfile(inside)
                if member is None:
                    sys.exit(f"{package.name} has no {inside}")
                (folder / here).write_bytes(member.read())
        (folder / "VERSION").write_text(f"{package.name} {package.version}\n")
        print(f"{package.name} {package.version} → {package.folder}")


if __name__ == "__main__":
    main()
