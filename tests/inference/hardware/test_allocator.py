"""Memory that MLX frees stays with the process. Each test runs one: what malloc was told cannot be untold."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.inference.accelerated import finish, launch

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has MLX's CPU backend alone")

# Arrays of 16 MB, as attention of a chunk over a long text needs them, on a thread as the engine is one.
COMPUTE = """
import resource, threading
import mlx.core as mx
def compute():
    x = mx.ones((1024, 4096))
    for turn in range(12):
        if turn == 4:
            found["faults"] = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        mx.eval((x * 2.0).sum(axis=-1) + mx.exp(x).max(axis=-1))
    found["faults"] = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - found["faults"]
thread = threading.Thread(target=compute)
thread.start()
thread.join()
"""
PAGES_OF_AN_ARRAY = 4096


def test_what_is_freed_is_not_asked_for_anew(tmp_path: Path) -> None:
    assert finish(launch(tmp_path, after=COMPUTE))["faults"] < PAGES_OF_AN_ARRAY / 4


def test_another_c_library_is_left_as_it_is(tmp_path: Path) -> None:
    after = "import ctypes\nctypes.CDLL = lambda name: object()\nblas.keep_freed_memory()"
    assert finish(launch(tmp_path, after=after))["log"] == ""
