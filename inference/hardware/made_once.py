"""Files that are made on first use and kept."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def made_once(target: Path, make: Callable[[Path], object]) -> Path:
    """`target`. Unless it is there, `make` writes it to the path that it is given, in a folder of its own.

    Raises OSError, and what `make` does. Processes that start at once each make their own and rename it into
    place: whichever is last, the content is the same, if the name says all that it depends on.
    """
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".draft-") as workspace:
            draft = Path(workspace) / target.name
            make(draft)
            draft.replace(target)
    return target
