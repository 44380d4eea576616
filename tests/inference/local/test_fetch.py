"""The process that gets a model's files: from a hub on loopback, whole and right, or with a sentence."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.gateway import eventually
from tests.inference.local.hub import COMMIT, Hub

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.model
ROOT = Path(__file__).resolve().parents[3]
CHUNK_BYTES = 10 * 1024**2


@pytest.fixture
def hub(tiny_folder: Path) -> Iterator[Hub]:
    with Hub(tiny_folder) as server:
        yield server


def begin(home: Path, source: str, *, hub: Hub | None = None, **job: Any) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "HF_HOME": str(home),
        "HF_ENDPOINT": hub.url if hub else "http://127.0.0.1:9",
    }
    most = job.pop("most_blocks", "unlimited")  # that a file may have: what a full disk is like
    process = subprocess.Popen(
        ["sh", "-c", f'ulimit -f {most}; exec "$@"', "sh", sys.executable, "-m", "inference.local.fetch"],
        cwd=ROOT,
        env={**environment, **job.pop("environment", {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps({"sources": {job.pop("role", "chat"): source}, "models_dir": "/x", **job}))
    process.stdin.close()
    process.stdin = None
    return process


def fetch(home: Path, source: str, *, hub: Hub | None = None, **job: Any) -> list[dict[str, Any]]:
    """Every line that it says."""
    printed, errors = begin(home, source, hub=hub, **job).communicate(timeout=60)
    assert "Traceback" not in errors, errors
    return [json.loads(line) for line in printed.splitlines()]


def part_of(home: Path) -> Path | None:
    return next((home / "hub" / "models--house--tiny" / "blobs").glob("*.part"), None)


def write_large_model(folder: Path, *, tokenizer_from: Path) -> Path:
    """Three of the pieces that the hub's library stores at once, and no more: nobody loads it."""
    folder.mkdir()
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(tokenizer_from / name, folder)
    size = 3 * CHUNK_BYTES - 5000
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    weights = len(header).to_bytes(8, "little") + header + bytes(size)
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def test_a_model_is_fetched_verified_and_measured(hub: Hub, tmp_path: Path, tiny_folder: Path) -> None:
    *told, last = fetch(tmp_path, "house/tiny", hub=hub, token="hf_secret")

    size = (tiny_folder / "model.safetensors").stat().st_size
    assert {"state": "verifying", "done": 0, "total": size} in told
    assert last["commit"] == COMMIT
    assert (Path(last["folders"]["chat"]) / "model.safetensors").stat().st_size == size
    assert last["facts"]["chat"]["weight_bytes"] == size
    assert last["facts"]["chat"]["kv_values"] == 2 * 2 * 12 * 2  # layers, heads, head size, keys and values
    assert hub.tokens == {"Bearer hf_secret"}

    offline = fetch(tmp_path, "house/tiny", environment={"HF_HUB_OFFLINE": "1"})
    assert offline[-1]["folders"] == last["folders"]


def test_a_download_goes_on_where_it_was_cut_or_killed(tiny_folder: Path, tmp_path: Path) -> None:
    large = write_large_model(tmp_path / "large", tokenizer_from=tiny_folder)
    with Hub(large) as hub:
        hub.cut_after, hub.stalls = CHUNK_BYTES + 1000, True
        process = begin(tmp_path, "house/tiny", hub=hub)
        eventually(lambda: (part := part_of(tmp_path)) and part.stat().st_size >= CHUNK_BYTES, within=30)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=10)
        hub.stalls, hub.ranges = False, []

        last = fetch(tmp_path, "house/tiny", hub=hub)[-1]

    assert "folders" in last, last
    assert hub.ranges == [f"bytes={CHUNK_BYTES}-", f"bytes={2 * CHUNK_BYTES}-"]
    assert part_of(tmp_path) is None


def test_a_file_with_another_hash_is_not_used_and_can_be_had_again(hub: Hub, tmp_path: Path) -> None:
    hub.lies_about_hash = True
    refused = fetch(tmp_path, "house/tiny", hub=hub)[-1]

    assert refused["failed"].startswith("model.safetensors is not what Hugging Face announces")
    assert refused["again"] is None
    assert part_of(tmp_path) is None

    hub.lies_about_hash = False
    assert "folders" in fetch(tmp_path, "house/tiny", hub=hub)[-1]


def test_a_disk_that_is_full_in_the_middle_is_said_and_what_has_come_is_kept(
    tiny_folder: Path, tmp_path: Path
) -> None:
    large = write_large_model(tmp_path / "large", tokenizer_from=tiny_folder)
    with Hub(large) as hub:
        refused = fetch(tmp_path, "house/tiny", hub=hub, most_blocks=CHUNK_BYTES // 512 + 2)[-1]
        assert refused["failed"].startswith("house/tiny could not be stored: the disk of")
        assert refused["again"] is None

        assert "folders" in fetch(tmp_path, "house/tiny", hub=hub)[-1]
        assert hub.ranges[-1].startswith("bytes=")


def test_a_disk_that_is_too_small_is_noticed_beforehand(hub: Hub, tmp_path: Path) -> None:
    hub.announced_size = 10**15
    last = fetch(tmp_path, "house/tiny", hub=hub)[-1]

    assert last["failed"].startswith("house/tiny needs 1000000.0 GB more on the disk of")
    assert hub.ranges == []


@pytest.mark.parametrize(
    ("source", "revision", "sentence"),
    [
        ("house/absent", "", "There is no model house/absent on Hugging Face, or it is private"),
        ("house/gated", "", "house/gated asks for permission: accept its terms"),
        ("house/locked", "", "Hugging Face does not accept the token for house/locked."),
        ("house/tiny", "gone", "house/tiny has no revision 'gone'."),
        ("/no/such/folder", "", "There is no folder /no/such/folder on this machine."),
    ],
)
def test_what_a_person_must_mend_is_said(
    hub: Hub, tmp_path: Path, source: str, revision: str, sentence: str
) -> None:
    last = fetch(tmp_path, source, hub=hub, revision=revision)[-1]

    assert last["failed"].startswith(sentence)
    assert last["again"] is None


def test_what_may_pass_is_tried_again(hub: Hub, tmp_path: Path) -> None:
    broken = fetch(tmp_path, "house/broken", hub=hub)[-1]
    limited = fetch(tmp_path, "house/busy", hub=hub)[-1]
    unreachable = fetch(tmp_path, "house/tiny")[-1]

    assert (broken["failed"], broken["again"]) == ("Hugging Face answers 500 for house/broken.", 5.0)
    assert limited == {"failed": "Hugging Face limits our requests for house/busy at present.", "again": 7.0}
    said = unreachable["failed"]
    assert said.startswith("The download of house/tiny from 127.0.0.1 was interrupted: ")
    assert "Errno" not in said
    assert unreachable["again"] == 5.0


def test_a_chat_model_is_no_embedding_model(tiny_folder: Path, tmp_path: Path) -> None:
    last = fetch(tmp_path, str(tiny_folder), role="embedding")[-1]

    assert last["failed"] == "tiny-llama holds no embedding model that is known here, but one of type llama."
