"""A model server's process stands still for no garbage collector."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LOAD = """
import gc, pathlib, sys
from inference.options import ModelOptions
from inference.server import _build
folder, cache = sys.argv[1:]
backend = _build(ModelOptions(name=folder, models_dir=pathlib.Path(folder), cache_dir=pathlib.Path(cache)))
print(gc.get_freeze_count(), len(gc.get_objects()))
backend.close()
"""


def test_what_is_loaded_is_out_of_its_sight(tiny_folder: Path, tmp_path: Path) -> None:
    """Looked at with everything else, it takes 100 ms: more than a step."""
    asked = [sys.executable, "-c", LOAD, str(tiny_folder), str(tmp_path)]
    said = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    spared, seen = map(int, said.split())
    assert spared > 100_000 > 20 * seen
