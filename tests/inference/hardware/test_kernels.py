"""Products of a few rows, and attention, by a library that is compiled on first use. In other processes."""

from __future__ import annotations

import platform
import sys
from typing import TYPE_CHECKING

import pytest

from inference.hardware import kernels
from tests.inference.accelerated import finish, launch

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has MLX's CPU backend alone")

# Compares with numpy in double precision: of all numbers of rows, of widths that fill no register, in stacks,
# with a bias, with weights that lie apart, and as large as several threads share.
MULTIPLY = """
import mlx.core as mx
import numpy as np
random = np.random.default_rng(7)
def some(*shape):
    return random.normal(size=shape).astype(np.float32)
worst, differing = 0.0, 0
def compare(name, ours, theirs):
    global worst
    error = np.abs(np.array(ours) - theirs).max() / np.abs(theirs).max()
    worst = max(worst, float(error))
for depth, width in ((1, 1), (7, 5), (16, 3), (33, 64), (100, 37), (576, 192), (2048, 600)):
    weights, rows, bias = some(width, depth), some(20, depth), some(width)
    w = mx.array(weights)
    alone = [np.array(mx.array(rows[[row]]) @ w.T) for row in range(8)]
    for count in range(1, 21):
        x = mx.array(rows[:count])
        expected = rows[:count].astype(np.float64) @ weights.T.astype(np.float64)
        sums = np.array(x @ w.T)
        compare("plain", sums, expected)
        compare("bias", mx.addmm(mx.array(bias), x, w.T), expected + bias)
        compare("scaled", mx.addmm(mx.array(bias), x, w.T, alpha=0.5, beta=2.0), expected * 0.5 + 2.0 * bias)
        compare("turned", mx.array(weights.T.copy()).T @ x.T, expected.T)
        if count <= 8:
            differing += sum(not np.array_equal(sums[[row]], alone[row]) for row in range(count))
stacked, others = some(3, 4, 5, 64), some(3, 4, 70, 64)
compare("stacked", mx.array(stacked) @ mx.array(others).swapaxes(-1, -2), stacked @ others.swapaxes(-1, -2))
parts = mx.array(others)[:, :, 10:50]
compare("apart", mx.array(stacked) @ parts.swapaxes(-1, -2), stacked @ others[:, :, 10:50].swapaxes(-1, -2))
compare("none", mx.zeros((2, 0)) @ mx.zeros((3, 0)).T + 1.0, np.ones((2, 3)))
found["worst"], found["differing"] = worst, differing
"""
# Compares with numpy in double precision: heads that share keys and such that do not, texts that fill no
# register and such as are computed bit by bit, with known tokens before them and without, in caches with room
# behind them, of several texts, and of numbers that do not lie side by side.
ATTEND = """
import mlx.core as mx
import numpy as np
from inference.hardware.whole_attention import attention
random = np.random.default_rng(7)
def expected_of(queries, keys, values, scale, is_causal):
    each, tokens, length = queries.shape[1] // keys.shape[1], queries.shape[2], keys.shape[2]
    keys, values = (np.repeat(array.astype(np.float64), each, axis=1) for array in (keys, values))
    scores = queries.astype(np.float64) @ keys.swapaxes(-1, -2) * scale
    if is_causal:
        scores[..., np.arange(length) > np.arange(length - tokens, length)[:, None]] = -np.inf
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights @ values / weights.sum(axis=-1, keepdims=True)
def of_lengths(queries, keys, values, scale, lengths):
    rows = [expected_of(queries[[row]], keys[[row], :, :count], values[[row], :, :count], scale, False)
            for row, count in enumerate(lengths)]
    return np.concatenate(rows)
def with_room(array):
    behind = mx.full((*array.shape[:2], 50, array.shape[3]), np.nan)
    return mx.concatenate([mx.array(array), behind], axis=2)[:, :, : array.shape[2]]
def turned(array):
    return mx.array(array.swapaxes(2, 3).copy()).swapaxes(2, 3)
worst = {"usual": 0.0, "sharp": 0.0}
for rows, heads, shared, tokens, known, width, value_width in (
    (1, 1, 1, 9, 0, 1, 1), (1, 6, 2, 9, 1, 16, 16), (2, 4, 4, 33, 15, 64, 24), (1, 9, 3, 105, 424, 64, 64),
    (3, 2, 1, 200, 0, 7, 5), (1, 4, 1, 128, 3500, 32, 32), (1, 1, 1, 700, 0, 128, 128),
):
    def some(heads, tokens, width):
        return random.normal(size=(rows, heads, tokens, width)).astype(np.float32)
    queries = some(heads, tokens, width)
    keys, values = some(shared, tokens + known, width), some(shared, tokens + known, value_width)
    for mask in (None, "causal"):
        for name, scale in (("usual", width ** -0.5), ("sharp", 40.0)):
            expected = expected_of(queries, keys, values, scale, mask is not None)
            for laid in (mx.array, with_room, turned):
                ours = attention(
                    mx.array(queries), laid(keys), laid(values), cache=None, scale=scale, mask=mask
                )
                worst[name] = max(worst[name], float(np.abs(np.array(ours) - expected).max()))
    lengths = [tokens + known - row for row in range(rows)]
    ours = attention(mx.array(queries), mx.array(keys), mx.array(values), scale=0.1, lengths=lengths)
    far = np.abs(np.array(ours) - of_lengths(queries, keys, values, 0.1, lengths)).max()
    worst["usual"] = max(worst["usual"], float(far))
found["worst"] = worst
"""
ONE_IS_NO_NUMBER = """
import mlx.core as mx
import numpy as np
from inference.hardware.whole_attention import attention
arrays = [np.ones((1, 1, 12, 4), dtype=np.float32) for _ in range(3)]
arrays[0][0, 0, 5, 2] = np.nan
ours = np.array(attention(*map(mx.array, arrays), cache=None, scale=1.0, mask="causal"))
found["hidden"] = np.flatnonzero(np.isnan(ours[0, 0, :, 0])).tolist()
"""
NOT_A_NUMBER = """
import mlx.core as mx
rows = mx.array([[1.0, float("nan")], [2.0, 3.0]])
found["sums"] = str((rows @ mx.array([[1.0, 1.0], [0.0, 1.0]]).T).tolist())
"""


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the libraries already, for the tests that do not ask how they get there."""
    folder = tmp_path_factory.mktemp("blas")
    assert finish(launch(folder))["has_kernels"]
    return folder


@pytest.mark.parametrize("threads", [1, 3])
def test_products_are_right_and_a_row_comes_to_the_same_whoever_is_with_it(
    cache_dir: Path, threads: int
) -> None:
    found = finish(launch(cache_dir, after=MULTIPLY, threads=threads))

    assert found["has_kernels"]
    assert found["worst"] < 1e-5
    assert found["differing"] == 0


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names processors of that kind")
@pytest.mark.parametrize("processor", ["x86-64", "haswell"])
def test_so_it_is_on_processors_with_fewer_registers(processor: str, tmp_path: Path) -> None:
    if processor == "haswell" and "avx2" not in kernels.CPU.read_text():
        pytest.skip("this processor cannot run it")
    other = f"from inference.hardware import kernels; kernels.FLAGS = (*kernels.FLAGS, '-march={processor}')"

    found = finish(launch(tmp_path, before=other, after=MULTIPLY))
    attention = finish(launch(tmp_path, before=other, after=ATTEND))

    assert found["has_kernels"]
    assert found["worst"] < 1e-5
    assert found["differing"] == 0
    assert attention["worst"]["usual"] < 1e-5


@pytest.mark.parametrize("threads", [1, 3])
def test_attention_is_right(cache_dir: Path, threads: int) -> None:
    worst = finish(launch(cache_dir, after=ATTEND, threads=threads))["worst"]

    assert worst["usual"] < 1e-5
    assert worst["sharp"] < 1e-2  # scores in the hundreds, of which float32 keeps so much


def test_a_token_that_is_no_number_spoils_its_own_attention_only(cache_dir: Path) -> None:
    assert finish(launch(cache_dir, after=ONE_IS_NO_NUMBER))["hidden"] == [5]


def test_what_is_no_number_stays_in_its_row(cache_dir: Path) -> None:
    found = finish(launch(cache_dir, after=NOT_A_NUMBER))

    assert found["sums"] == "[[nan, nan], [5.0, 3.0]]"


def test_it_is_compiled_once(tmp_path: Path) -> None:
    finish(launch(tmp_path))
    (library,) = tmp_path.glob("kernels-*.so")
    made_at = library.stat().st_mtime_ns

    assert finish(launch(tmp_path))["has_kernels"]
    kept = [path for path in tmp_path.iterdir() if not path.name.startswith("openblas-")]
    assert [path.stat().st_mtime_ns for path in kept] == [made_at]


def test_processes_that_start_together_agree_on_one_library(tmp_path: Path) -> None:
    found = [finish(process) for process in [launch(tmp_path) for _ in range(3)]]

    assert all(each["has_kernels"] for each in found)
    assert len([path for path in tmp_path.iterdir() if not path.name.startswith("openblas-")]) == 1


def compiler(folder: Path, script: str) -> Path:
    """A folder for PATH with a g++ that does what `script` says."""
    folder.mkdir()
    (folder / "g++").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "g++").chmod(0o755)
    return folder


LOGGED = "logging.getLogger().setLevel(logging.INFO)"


def test_all_is_multiplied_by_openblas_where_there_is_no_compiler(tmp_path: Path) -> None:
    found = finish(launch(tmp_path / "cache", before=LOGGED, after=MULTIPLY, PATH="/nowhere"))

    assert not found["has_kernels"]
    assert found["library"] != "None"
    assert found["worst"] < 1e-5
    assert (
        "INFO Few rows are multiplied by OpenBLAS as well, and attention is MLX's: g++ is not installed."
        in found["log"]
    )


def test_what_the_compiler_has_to_say_is_told(tmp_path: Path) -> None:
    bin_dir = compiler(tmp_path / "bin", '[ "$1" = --version ] || { echo "no room left" >&2; exit 1; }')

    found = finish(launch(tmp_path / "cache", before=LOGGED, PATH=str(bin_dir)))

    assert not found["has_kernels"]
    assert found["library"] != "None"
    assert f"{bin_dir}/g++ failed: no room left" in found["log"]
    assert [path.name[:9] for path in (tmp_path / "cache").iterdir()] == ["openblas-"]


def test_openblas_goes_on_alone_when_the_kept_library_is_damaged(tmp_path: Path) -> None:
    finish(launch(tmp_path))
    (library,) = tmp_path.glob("kernels-*.so")
    library.write_bytes(b"no library")

    found = finish(launch(tmp_path, before=LOGGED, after=MULTIPLY))

    assert not found["has_kernels"]
    assert found["worst"] < 1e-5
    assert str(library) in found["log"]
