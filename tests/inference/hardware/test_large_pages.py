"""Weights move into large pages where the kernel lets them, and stay as they are where it does not."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from django.conf import settings
from mlx import nn

from inference.hardware import large_pages
from inference.hardware.large_pages import use_large_pages
from inference.loading.loader import load_chat_model

WIDTH = 3072
WEIGHT_BYTES = WIDTH * WIDTH * 4
MB = 1024**2
MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) ")
ENABLED = large_pages.KERNEL_SETTINGS / "enabled"

gives_large_pages = pytest.mark.skipif(
    not ENABLED.exists() or "[madvise]" not in ENABLED.read_text(),
    reason="This kernel gives no large pages, or gives them unasked.",
)
moves_memory = pytest.mark.skipif(
    tuple(map(int, re.findall(r"\d+", os.uname().release)[:2])) < (6, 1),
    reason="Kernels before 6.1 move no memory when they are asked to.",
)


@pytest.fixture
def model() -> Any:
    """Of one weight. What malloc has left of earlier tests may be marked, and is used up."""
    made: list[Any] = []
    while not made or is_marked(made[-1].weight):
        made.append(nn.Linear(WIDTH, WIDTH, bias=False))
        mx.eval(made[-1].weight)
    return made[-1]


@pytest.fixture(autouse=True)
def _all_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "inference.hardware.large_pages")


def mappings_of(array: Any) -> list[str]:
    """What /proc says of the mappings in which it lies."""
    begin, end = np.lib.array_utils.byte_bounds(np.array(array, copy=False))
    found: list[str] = []
    is_of_array = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if bounds := MAPPING.match(line):
            is_of_array = int(bounds[1], 16) < end and begin < int(bounds[2], 16)
        if is_of_array:
            found.append(line)
    return found


def large_bytes(array: Any) -> int:
    sizes = [line.split()[1] for line in mappings_of(array) if line.startswith("AnonHugePages:")]
    return sum(map(int, sizes)) * 1024


def is_marked(array: Any) -> bool:
    return any(line.startswith("VmFlags:") and " hg" in line for line in mappings_of(array))


@gives_large_pages
@moves_memory
def test_weights_move_and_say_the_same(model: Any, caplog: pytest.LogCaptureFixture) -> None:
    content = np.array(model.weight)
    before = large_bytes(model.weight)
    use_large_pages(model)
    pages_at_the_ends = 2 * 2 * MB
    assert large_bytes(model.weight) - before >= WEIGHT_BYTES - pages_at_the_ends
    assert np.array_equal(np.array(model.weight), content)
    assert "were moved into large pages" in caplog.text
    assert "the kernel has" not in caplog.text


@gives_large_pages
@moves_memory
@pytest.mark.model
def test_a_model_that_was_loaded_lies_in_large_pages() -> None:
    demo = load_chat_model("demo", models_dir=settings.OLLA_MODELS_DIR, dense=True).model
    assert large_bytes(demo.model.embed_tokens.weight) >= demo.model.embed_tokens.weight.nbytes * 0.9


@gives_large_pages
def test_quantised_weights_stay(model: Any, caplog: pytest.LogCaptureFixture) -> None:
    model.weight = model.weight.view(mx.uint32)
    before = large_bytes(model.weight)
    use_large_pages(model)
    assert large_bytes(model.weight) == before
    assert not caplog.records


@gives_large_pages
def test_an_older_kernel_is_left_to_move_them_itself(
    model: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(large_pages, "MOVE", 9999)  # it knows as little of it
    use_large_pages(model)
    assert is_marked(model.weight)
    assert caplog.text.count("0 of ") == 1
    assert "Invalid argument" in caplog.text


@gives_large_pages
def test_nothing_is_moved_when_the_time_is_over(
    model: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(large_pages, "MOST_SECONDS", -1.0)
    before = large_bytes(model.weight)
    use_large_pages(model)
    assert is_marked(model.weight)
    assert large_bytes(model.weight) == before
    assert "there was no more time" in caplog.text


@pytest.mark.skipif(not ENABLED.parent.parent.exists(), reason="This is no Linux.")
@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "No such file"),
        ({"enabled": "always madvise [never]\n"}, "says never"),
        ({"enabled": "always [madvise] never\n", "hpage_pmd_size": "1000\n"}, "Invalid argument"),
    ],
    ids=["no large pages", "not wanted", "refused"],
)
def test_without_large_pages_only_the_log_says_so(
    files: dict[str, str],
    reason: str,
    model: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(large_pages, "KERNEL_SETTINGS", tmp_path)
    before = large_bytes(model.weight)
    use_large_pages(model)
    assert large_bytes(model.weight) == before
    assert "The weights stay in small pages" in caplog.text
    assert reason in caplog.text
