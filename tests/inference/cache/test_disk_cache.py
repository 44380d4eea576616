"""The prompt cache on disk: it outlives the process, keeps its size, and never gives anything wrong."""

from __future__ import annotations

import errno
import os
import resource
import stat
from typing import TYPE_CHECKING, Any

import pytest

from inference.cache import kv_file
from inference.cache.disk_cache import DiskCache
from inference.cache.kept_state import keeps_every_token
from inference.cache.prompt_cache import PromptCache
from inference.generation.limits import limits_of
from inference.generation.scheduler import Scheduler
from tests.inference.cache.test_prompt_cache import PLENTY, alone, answer, model_of, text
from tests.inference.families import FAMILIES

if TYPE_CHECKING:
    from pathlib import Path

FINGERPRINT = "0123456789abcdef"


def scheduler_on(
    folder: Path, family: str, *, disk_bytes: int = PLENTY, fingerprint: str = FINGERPRINT
) -> Scheduler:
    """A process that has just begun: nothing is in its memory."""
    model = model_of(family)
    disk = DiskCache(folder, max_bytes=disk_bytes, fingerprint=fingerprint)
    kept = PromptCache(max_bytes=PLENTY, cuts_anywhere=keeps_every_token(model), disk=disk)
    return Scheduler(model, prompt_cache=kept, limits=limits_of(model, max_rows=4, chunk_tokens=16))


def ask(folder: Path, family: str, *prompts: list[int], **options: Any) -> list[int]:
    """How many tokens of each prompt a process knew that has just begun. The answers are right."""
    scheduler = scheduler_on(folder, family, **options)
    cached = []
    for prompt in prompts:
        said, known = answer(scheduler, prompt)
        assert said == alone(family, prompt)
        cached.append(known)
    scheduler.close()
    return cached


@pytest.mark.parametrize("family", FAMILIES)
def test_what_was_read_is_known_after_a_restart(tmp_path: Path, family: str) -> None:
    prompt = text(60, seed=1)
    assert ask(tmp_path, family, prompt) == [0]
    assert ask(tmp_path, family, prompt) == [59]
    longer = [*prompt, *alone(family, prompt), *text(9, seed=2)]
    known = 72 if keeps_every_token(model_of(family)) else 59  # 13 tokens more are too few for a file
    assert ask(tmp_path, family, longer)[0] >= known - 13
    assert ask(tmp_path, family, longer) == [len(longer) - 1]


def test_a_shared_beginning_is_written_once(tmp_path: Path) -> None:
    system = text(200, seed=3)
    assert ask(tmp_path, "llama", *([*system, *text(20, seed=seed)] for seed in range(4))) == [
        0,
        200,
        200,
        200,
    ]
    sizes = sorted(path.stat().st_size for path in tmp_path.glob("*.safetensors"))
    assert sum(sizes) < 2 * sizes[-1]
    assert ask(tmp_path, "llama", [*system, *text(20, seed=9)]) == [200]


def test_files_keep_within_their_size_and_the_latest_stay(tmp_path: Path) -> None:
    prompts = [text(100, seed=seed) for seed in range(8)]
    ask(tmp_path, "llama", prompts[0])
    (one,) = {path.stat().st_size for path in tmp_path.glob("*.safetensors")}
    scheduler = scheduler_on(tmp_path, "llama", disk_bytes=3 * one + 100)
    for prompt in prompts:
        answer(scheduler, prompt)
    scheduler.close()
    assert sum(path.stat().st_size for path in tmp_path.glob("*")) <= 3 * one + 100
    assert ask(tmp_path, "llama", prompts[-1]) == [99]
    assert ask(tmp_path, "llama", prompts[0]) == [0]


def test_what_is_larger_than_all_files_may_be_pushes_none_out(tmp_path: Path) -> None:
    short, long = text(60, seed=1), text(400, seed=2)
    ask(tmp_path, "llama", short)
    (one,) = tmp_path.glob("*.safetensors")
    assert ask(tmp_path, "llama", long, disk_bytes=one.stat().st_size + 100) == [0]
    assert ask(tmp_path, "llama", short) == [59]


@pytest.mark.parametrize("damage", ["cut", "flipped", "header", "empty"])
def test_a_damaged_file_is_told_and_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    prompt = text(60, seed=5)
    ask(tmp_path, "llama", prompt)
    (path,) = tmp_path.glob("*.safetensors")
    data = bytearray(path.read_bytes())
    if damage == "cut":
        del data[-100:]
    elif damage == "flipped":
        data[-50] ^= 1
    elif damage == "header":
        data[20:60] = b"?" * 40
    else:
        data.clear()
    path.write_bytes(data)
    assert ask(tmp_path, "llama", prompt) == [0]
    assert f"{path} is left out of the prompt cache, and removed" in caplog.text
    assert ask(tmp_path, "llama", prompt) == [59]  # it was written anew


@pytest.mark.parametrize("runs", [False, True])
def test_what_cannot_be_read_nor_removed_is_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, runs: bool
) -> None:
    prompt = text(60, seed=5)
    ask(tmp_path, "llama", prompt)
    (path,) = tmp_path.glob("*.safetensors")
    running = scheduler_on(tmp_path, "llama")
    path.unlink()
    path.mkdir()  # as a disk that has become read-only, it can be neither read nor unlinked
    scheduler = running if runs else scheduler_on(tmp_path, "llama")
    assert answer(scheduler, prompt) == (alone("llama", prompt), 0)
    scheduler.close()
    running.close()
    assert f"{path} is left out of the prompt cache: " in caplog.text


def test_another_model_gets_nothing_of_it(tmp_path: Path) -> None:
    prompt = text(60, seed=6)
    ask(tmp_path, "llama", prompt)
    assert ask(tmp_path, "llama", prompt, fingerprint="another") == [0]


def test_files_are_their_owners_only(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    ask(folder, "llama", text(60, seed=7))
    (path,) = folder.glob("*")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_disk_that_takes_no_more_is_told_once_and_nothing_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = scheduler_on(tmp_path / "kept", "llama")
    (tmp_path / "kept").rmdir()
    (tmp_path / "kept").write_text("a file where the folder was")
    for seed in (8, 9):
        prompt = text(60, seed=seed)
        assert answer(scheduler, prompt) == (alone("llama", prompt), 0)
        assert answer(scheduler, prompt) == (alone("llama", prompt), 59)
    scheduler.close()
    told = [record.getMessage() for record in caplog.records if "It goes on in memory only" in record.msg]
    assert told == [
        f"The prompt cache cannot be written to {tmp_path / 'kept'}: {os.strerror(errno.ENOTDIR)}. "
        "It goes on in memory only."
    ]


def test_a_disk_that_takes_only_what_is_small_is_told_once_as_well(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    scheduler = scheduler_on(tmp_path / "kept", "llama")
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        for place, length in enumerate((400, 20, 400, 20, 400)):
            prompt = text(length, seed=20 + place)
            assert answer(scheduler, prompt) == (alone("llama", prompt), 0)
        scheduler.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "kept").glob("*"))
    told = [record for record in caplog.records if "It goes on in memory only" in record.msg]
    assert len(told) == 1


def test_the_fingerprint_is_of_the_configuration_and_of_the_weights(
    tiny_folder: Path, tmp_path: Path
) -> None:
    model = model_of("llama")
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in tiny_folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    same = kv_file.fingerprint_of(folder, model)
    assert same == kv_file.fingerprint_of(tiny_folder, model)
    assert same != kv_file.fingerprint_of(folder, model_of("qwen3_moe"))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    assert kv_file.fingerprint_of(folder, model) != same
