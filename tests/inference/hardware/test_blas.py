"""OpenBLAS in front of MLX, each test in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from inference.hardware import cuda
from inference.hardware.blas import physical_cores
from tests.inference.accelerated import finish, launch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has MLX's CPU backend alone")

MULTIPLY = """
import mlx.core as mx
import numpy as np
left, right = np.random.default_rng(1).normal(size=(2, 768, 768)).astype(np.float32)
a, b = mx.array(left), mx.array(right)
def seconds():
    started = time.perf_counter()
    mx.eval(a @ b)
    return time.perf_counter() - started
found["seconds"] = min(seconds() for _ in range(3))
found["wrong_by"] = float(np.abs(np.array(a @ b) - left @ right).max())
"""


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the renamed library already, for the tests that do not ask how it gets there."""
    folder = tmp_path_factory.mktemp("blas")
    assert finish(launch(folder))["library"] != "None"
    return folder


def test_mlx_multiplies_many_times_faster_and_as_rightly(cache_dir: Path) -> None:
    stock = finish(
        launch(
            cache_dir,
            before="blas.accelerate = lambda **_: blas.Acceleration(None, 0, True, '')",
            after=MULTIPLY,
        )
    )
    fast = finish(launch(cache_dir, after=MULTIPLY))

    assert fast["seconds"] * 5 < stock["seconds"]
    assert fast["wrong_by"] < 1e-3
    assert fast["log"] == ""


def test_it_does_not_import_mlx_itself(cache_dir: Path) -> None:
    assert not finish(launch(cache_dir))["mlx_was_imported"]


def test_it_warns_and_goes_on_when_mlx_is_there_already(cache_dir: Path) -> None:
    found = finish(launch(cache_dir, before="import mlx.core"))

    assert found["library"] == "None"
    assert "WARNING MLX runs with its slow reference BLAS: mlx.core is already imported" in found["log"]


def test_it_warns_and_goes_on_when_the_library_cannot_be_kept(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")

    found = finish(launch(tmp_path / "cache"))

    assert found["library"] == "None"
    assert "a copy of OpenBLAS could not be written" in found["log"]


def test_it_warns_and_goes_on_when_the_kept_library_is_damaged(tmp_path: Path) -> None:
    library = Path(finish(launch(tmp_path))["library"])
    library.write_bytes(b"no library")

    found = finish(launch(tmp_path))

    assert found["library"] == "None"
    assert f"{library} could not be loaded" in found["log"]


def test_it_makes_the_library_once(tmp_path: Path) -> None:
    library = Path(finish(launch(tmp_path))["library"])
    made_at = library.stat().st_mtime_ns

    assert finish(launch(tmp_path))["library"] == str(library)
    assert library.stat().st_mtime_ns == made_at


def test_processes_that_start_together_agree_on_one_library(tmp_path: Path) -> None:
    found = [finish(process) for process in [launch(tmp_path) for _ in range(4)]]

    assert len({each["library"] for each in found}) == 1
    kept = [str(path) for path in tmp_path.iterdir() if not path.name.startswith("kernels-")]
    assert kept == [found[0]["library"]]


def test_it_uses_as_many_threads_as_the_caller_says(cache_dir: Path) -> None:
    found = finish(launch(cache_dir, threads=3, OPENBLAS_NUM_THREADS="5"))

    assert found["threads"] == 3
    assert found["environment"]["OPENBLAS_NUM_THREADS"] == "3"


def test_it_uses_as_many_threads_as_the_environment_says(cache_dir: Path) -> None:
    assert finish(launch(cache_dir, OPENBLAS_NUM_THREADS="5"))["threads"] == 5


def test_it_ignores_a_number_of_threads_that_is_none(cache_dir: Path) -> None:
    found = finish(launch(cache_dir, OPENBLAS_NUM_THREADS="many"))

    assert found["threads"] >= 1
    assert "OPENBLAS_NUM_THREADS must be a whole number above 0, not 'many'" in found["log"]


def test_it_leaves_a_core_to_everyone_else(cache_dir: Path) -> None:
    assert finish(launch(cache_dir))["threads"] == max(1, physical_cores() - 1)


def test_it_uses_only_cores_that_this_process_may_use(cache_dir: Path) -> None:
    pinned = "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"

    assert finish(launch(cache_dir, before=pinned))["threads"] == 1


def test_it_tells_mlx_not_to_compile_where_there_is_no_compiler(cache_dir: Path) -> None:
    found = finish(launch(cache_dir, PATH="/nowhere"))

    assert found["environment"]["MLX_DISABLE_COMPILE"] == "1"
    assert not found["compiled"]


def test_it_lets_mlx_compile_where_there_is_a_compiler(cache_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "g++").touch(mode=0o755)

    found = finish(launch(cache_dir, PATH=str(tmp_path)))

    assert "MLX_DISABLE_COMPILE" not in found["environment"]
    assert found["compiled"]


def test_it_leaves_the_choice_of_kernels_to_who_made_it(cache_dir: Path) -> None:
    assert finish(launch(cache_dir, MLX_DISABLE_COMPILE="0"))["environment"]["MLX_DISABLE_COMPILE"] == "0"


@pytest.fixture
def nvidia_backend(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH in which MLX's backend for NVIDIA cards seems to be installed."""
    folder = tmp_path / "mlx_cuda_13-0.32.4.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: mlx-cuda-13\nVersion: 0.32.4\n")
    return tmp_path


def test_on_an_nvidia_card_settings_are_chosen_with_which_lengths_may_be_new(
    cache_dir: Path, nvidia_backend: Path
) -> None:
    found = finish(launch(cache_dir, PYTHONPATH=str(nvidia_backend)))
    assert found["library"] == "None"
    chosen = {name: found["environment"].get(name) for name in cuda.SETTINGS}
    assert chosen == dict.fromkeys(cuda.SETTINGS, "0")


def test_what_an_operator_has_chosen_for_an_nvidia_card_stays(cache_dir: Path, nvidia_backend: Path) -> None:
    found = finish(launch(cache_dir, PYTHONPATH=str(nvidia_backend), MLX_USE_CUDA_GRAPHS="1"))
    assert found["environment"]["MLX_USE_CUDA_GRAPHS"] == "1"
    assert found["environment"]["MLX_CUDA_USE_CUDNN_SDPA"] == "0"
