"""Models by their Hugging Face id, from a hub on loopback. Its address is read at import: hence processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from inference.loading.gguf_llama import convert
from tests.inference.local.hub import Hub
from tests.inference.tiny_gguf import write_tiny_gguf

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT_ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
import sys
from pathlib import Path
from inference.errors import ModelError
from inference.loading.loader import load_chat_model
try:
    loaded = load_chat_model(sys.argv[1], models_dir=Path(sys.argv[2]))
    print(loaded.name, loaded.created > 0, sorted(path.name for path in loaded.path.iterdir()))
except ModelError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    workspace = tmp_path_factory.mktemp("hub")
    write_tiny_gguf(workspace / "tiny.gguf")
    (workspace / "tiny").mkdir()
    convert(workspace / "tiny.gguf", workspace / "tiny")
    (workspace / "tiny" / "modeling_tiny.py").write_text("raise SystemExit('never run')")
    with Hub(workspace / "tiny") as server:
        yield server


def load(name: str, home: Path, *, largest_file: str = "unlimited", **environment: str) -> str:
    """`largest_file` in half kilobytes."""
    limited = ["sh", "-c", f'ulimit -f {largest_file}; exec "$@"', "sh"]
    done = subprocess.run(
        [*limited, sys.executable, "-c", PROGRAM, name, str(home)],
        cwd=PROJECT_ROOT,
        env={**os.environ, "HF_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_model_is_downloaded_by_its_id_without_its_code(hub: Hub, tmp_path: Path) -> None:
    printed = load("house/tiny", tmp_path, HF_ENDPOINT=hub.url)

    assert printed.startswith("house/tiny True ['config.json', 'generation_config.json', 'model.safetensors'")
    assert "modeling_tiny.py" not in printed


def test_a_downloaded_model_needs_no_network(hub: Hub, tmp_path: Path) -> None:
    load("house/tiny", tmp_path, HF_ENDPOINT=hub.url)

    assert load("house/tiny", tmp_path, HF_HUB_OFFLINE="1").startswith("house/tiny True")


def test_an_unknown_id_is_told(hub: Hub, tmp_path: Path) -> None:
    assert load("house/private", tmp_path, HF_ENDPOINT=hub.url).startswith(
        "ModelNotFound There is no model house/private on Hugging Face, or it is private and HF_TOKEN"
    )


def test_a_gated_model_says_what_to_accept(hub: Hub, tmp_path: Path) -> None:
    assert load("house/gated", tmp_path, HF_ENDPOINT=hub.url).startswith(
        "ModelNotFound house/gated asks for permission: accept its terms"
    )


def test_a_disk_that_is_full_is_told_with_its_folder(hub: Hub, tmp_path: Path) -> None:
    assert load("house/tiny", tmp_path, largest_file="8", HF_ENDPOINT=hub.url) == (
        f"ModelNotFound house/tiny could not be stored: the disk of {tmp_path / 'hub'} is full (File too "
        "large). Make room there and start again: what has come is kept.\n"
    )


def test_no_way_to_the_hub_is_told(tmp_path: Path) -> None:
    assert load("house/tiny", tmp_path, HF_HUB_OFFLINE="1").startswith(
        "ModelNotFound house/tiny could not be downloaded from Hugging Face:"
    )
