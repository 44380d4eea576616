"""transformers is told from a file what it would find in its source, and told the same."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

# In a process of its own: this one has loaded transformers.
LOAD = """
import sys
from pathlib import Path

opened = []
sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == "open" else None)

from inference.loading import transformers_index

transformers_index.keep(Path(sys.argv[1]))
import transformers
from transformers.utils import import_utils

models = Path(transformers.__file__).parent / "models"
read = [path for path in opened if Path(path).parent.parent == models and path.endswith(".py")]
print(len(read) > 1000)

from transformers import AutoTokenizer, LlamaConfig

by_index = import_utils.define_import_structure
original = by_index.__closure__ and next(
    cell.cell_contents for cell in by_index.__closure__ if hasattr(cell.cell_contents, "cache_info")
)
for asked in ((models, "models"), (str(models / "__init__.py"), None), (models / "llama", None)):
    assert by_index(*asked) == original(*asked) != {}
assert by_index(models, "models") is not by_index(models, "models")  # transformers adds to what it gets
"""


def load(cache_dir: Path) -> subprocess.CompletedProcess[str]:
    """Says whether transformers has read its models' source."""
    command = [sys.executable, "-c", LOAD, str(cache_dir)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)


def has_read(done: subprocess.CompletedProcess[str]) -> bool:
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1] == "True"


def test_the_second_start_reads_no_source_and_knows_the_same(tmp_path: Path) -> None:
    assert has_read(load(tmp_path / "cache"))
    assert not has_read(load(tmp_path / "cache"))


@pytest.mark.parametrize("content", ["", "[[", "{}", '[["torch"]]', "null"])
def test_a_file_that_is_damaged_is_not_believed(tmp_path: Path, content: str) -> None:
    assert has_read(load(tmp_path))
    (index,) = tmp_path.glob("transformers-*.json")
    index.write_text(content)

    done = load(tmp_path)

    assert has_read(done)
    assert "cannot be used" in done.stderr


def test_a_folder_that_cannot_be_written_costs_the_time_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    done = load(tmp_path / "file" / "cache")

    assert has_read(done)
    assert "cannot be used" in done.stderr
