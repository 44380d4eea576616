"""What memory is left: in cgroups of both versions, and under a process's own limit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from inference.hardware import free_memory
from inference.hardware.free_memory import available_memory, left_in_container, loadable_memory
from inference.local import room

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[3]
V1_WITHOUT_LIMIT = 9223372036854771712
LOADS_WITH_LITTLE = """
import resource, sys
from pathlib import Path
from inference.hardware.blas import accelerate
accelerate(cache_dir=Path(sys.argv[2]))
from inference.errors import ModelError
from inference.loading.loader import load_chat_model
pages = int(Path("/proc/self/statm").read_text().split()[0])
most = pages * resource.getpagesize() + 150_000_000
resource.setrlimit(resource.RLIMIT_AS, (most, most))
try:
    load_chat_model(sys.argv[1], models_dir=Path())
except ModelError as error:
    print(error)
"""


@pytest.fixture
def cgroups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, dict[str, dict[str, str]]], None]:
    """Writes /proc/self/cgroup, and files by the name of their folder."""

    def write(own: str, folders: dict[str, dict[str, str]]) -> None:
        (tmp_path / "own").write_text(own)
        for folder, files in folders.items():
            (tmp_path / "fs" / folder).mkdir(parents=True, exist_ok=True)
            for name, content in files.items():
                (tmp_path / "fs" / folder / name).write_text(content)
        monkeypatch.setattr(free_memory, "OWN_CGROUPS", tmp_path / "own")
        monkeypatch.setattr(free_memory, "CGROUPS", tmp_path / "fs")

    return write


def v2(limit: object, used: int, *, inactive: int = 0) -> dict[str, str]:
    stat = f"anon {used - inactive}\nfile {inactive}\ninactive_file {inactive}\nactive_file 0\n"
    return {"memory.max": f"{limit}\n", "memory.current": f"{used}\n", "memory.stat": stat}


def v1(limit: int, used: int, *, inactive: int = 0) -> dict[str, str]:
    return {
        "memory.limit_in_bytes": f"{limit}\n",
        "memory.usage_in_bytes": f"{used}\n",
        "memory.stat": f"cache {inactive}\ninactive_file 1\ntotal_inactive_file {inactive}\n",
    }


def test_the_limit_of_a_container_counts_less_what_is_used_and_not_given_back(
    cgroups: Callable[..., None],
) -> None:
    cgroups("0::/\n", {"": v2(10_000, 4_000, inactive=1_000)})
    assert left_in_container() == 7_000
    assert available_memory() == loadable_memory() == 7_000
    assert room.machine(used_by_models=0).free == 7_000


def test_the_smallest_limit_on_the_way_up_counts(cgroups: Callable[..., None]) -> None:
    folders = {"a.slice": v2(5_000, 3_000), "a.slice/b.service": v2(9_000, 1_000), "a.slice/c": v2(10, 1)}
    cgroups("0::/a.slice/b.service\n", folders)
    assert left_in_container() == 2_000


def test_a_container_that_sees_its_own_folder_as_the_uppermost_one(cgroups: Callable[..., None]) -> None:
    cgroups("5:memory:/docker/8f3a\n0::/docker/8f3a\n", {"memory": v1(6_000, 2_000, inactive=500)})
    assert left_in_container() == 4_500


def test_the_first_version_may_join_controllers(cgroups: Callable[..., None]) -> None:
    cgroups("3:cpu,cpuacct:/x\n5:hugetlb,memory:/x\n", {"memory/x": v1(6_000, 2_000)})
    assert left_in_container() == 4_000


def test_more_than_the_limit_leaves_nothing(cgroups: Callable[..., None]) -> None:
    cgroups("0::/\n", {"": v2(1_000, 4_000)})
    assert left_in_container() == 0


def test_no_limit_is_no_limit(cgroups: Callable[..., None]) -> None:
    cgroups("5:memory:/\n0::/\n", {"": v2("max", 4_000), "memory": v1(V1_WITHOUT_LIMIT, 4_000)})
    assert (left_in_container() or 0) > psutil.virtual_memory().total


def test_a_system_without_cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(free_memory, "OWN_CGROUPS", tmp_path / "nothing")
    assert left_in_container() is None


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not keep to that limit")
def test_a_model_that_does_not_fit_into_the_limit_of_its_process_is_told(
    tiny_folder: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", LOADS_WITH_LITTLE, str(tiny_folder), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert f"{tiny_folder} does not fit into memory: its weights take 0.01 GB" in done.stdout, done.stderr
    assert done.returncode == 0
