"""Backend types are data."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from endpoints import profiles
from endpoints.errors import ProfileError

if TYPE_CHECKING:
    from pathlib import Path

GOOD = (profiles.FOLDER / "openai-compatible.yaml").read_text()
ROOT = profiles.FOLDER.parent.parent
# Fifty new processes (forks of one that has not read a profile yet) in which four threads read them at once.
READ_BY_THREADS = """
import os, sys, threading
from pathlib import Path
from endpoints import profiles

sys.setswitchinterval(1e-6)
folder = Path(sys.argv[1])

def read_by_threads():
    gate = threading.Barrier(4)
    threads = [threading.Thread(target=lambda: (gate.wait(), profiles.load(folder))) for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()

for _ in range(50):
    if (child := os.fork()) == 0:
        read_by_threads()
        os._exit(0)
    if status := os.waitpid(child, 0)[1]:
        sys.exit(f"it ended with {os.waitstatus_to_exitcode(status)}")
"""


def test_vllm_mlx_has_the_defaults_of_its_documentation() -> None:
    found = profiles.profile("vllm-mlx")
    assert (found.health_path, found.models_path, found.owned_by) == ("/health", "/v1/models", "vllm-mlx")
    assert (found.default_priority, found.max_concurrent) == (85, 20)


def test_a_prefix_finds_its_profile() -> None:
    found = profiles.profile_for_prefix("openai")
    assert found is not None
    assert found.name == "openai-compatible"


def test_an_unknown_prefix_finds_none() -> None:
    assert profiles.profile_for_prefix("nonsense") is None


def test_an_unknown_type_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ProfileError, match=r"'nonsense'\. Known types: .*, openai-compatible, .*vllm-mlx, "):
        profiles.profile("nonsense")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("- a list", "Expected `object`"),
        (GOOD + "\ncolour: red\n", "unknown field `colour`"),
        (GOOD.replace("idle_timeout_seconds: 120", "idle_timeout_seconds: soon"), "Expected `float`"),
        (GOOD.replace("max_concurrent: 20\n", ""), "missing required field `max_concurrent`"),
        (GOOD.replace("name: openai-compatible", "name: other"), "must be the name of the file"),
        ("name: [", "openai-compatible.yaml"),
    ],
)
def test_a_bad_file_is_refused_with_its_path(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "openai-compatible.yaml"
    path.write_text(text)
    with pytest.raises(ProfileError) as caught:
        profiles.load(tmp_path)
    assert str(caught.value).startswith(f"{path}: ")
    assert complaint in str(caught.value)


def test_a_prefix_belongs_to_one_profile(tmp_path: Path) -> None:
    (tmp_path / "openai-compatible.yaml").write_text(GOOD)
    (tmp_path / "other.yaml").write_text(GOOD.replace("name: openai-compatible", "name: other"))
    with pytest.raises(ProfileError, match="already has the prefix openai, openai-compatible"):
        profiles.load(tmp_path)


def test_threads_may_be_the_first_to_read_them_together(tmp_path: Path) -> None:
    (tmp_path / "openai-compatible.yaml").write_text(GOOD)
    subprocess.run([sys.executable, "-c", READ_BY_THREADS, str(tmp_path)], cwd=ROOT, check=True)


@pytest.mark.parametrize(
    ("globs", "known"),
    [
        ([], {"vllm-mlx", "vllm", "ollama", "litellm"}),
        (["vllm*", "ollama"], {"vllm-mlx", "vllm", "ollama"}),
        (["!litellm", "!ollama"], {"vllm-mlx", "vllm"}),
        (["*", "!vllm*"], {"vllm-mlx", "ollama", "litellm"}),
        (["nothing"], {"vllm-mlx"}),
    ],
)
def test_a_deployment_says_which_types_it_knows(globs: list[str], known: set[str]) -> None:
    every = {name: profiles.profile(name) for name in ("vllm-mlx", "vllm", "ollama", "litellm")}
    assert set(profiles.chosen(every, globs)) == known
