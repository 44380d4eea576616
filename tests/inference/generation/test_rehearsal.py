"""The first run of a model: all that rows do happens in it, and it leaves nothing but what it has learned."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import mlx.core as mx
import pytest

from inference.generation.limits import limits_of
from inference.generation.pace import ON_CPU, ON_CUDA
from inference.generation.rehearsal import rehearse
from inference.generation.room import Limits
from tests.inference.tiny_models import CONTEXT_LENGTH, tiny_model

LIMITS = Limits(max_rows=8, chunks=ON_CPU.up_to(64))


class Watched:
    """A model that notes the shapes of what it is given."""

    def __init__(self, model: Any, *, fails: bool = False) -> None:
        self._model, self._fails = model, fails
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, tokens: Any, **options: Any) -> Any:
        self.shapes.append(tokens.shape)
        if self._fails:
            raise ValueError("no such kernel")
        return self._model(tokens, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


LIMIT, LIMIT_COMPILED = (
    "inference.generation.rehearsal.MOST_SECONDS",
    "inference.generation.rehearsal.MOST_SECONDS_COMPILED",
)


@pytest.fixture
def within_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LIMIT, 3600.0)
    monkeypatch.setattr(LIMIT_COMPILED, 3600.0)


@pytest.mark.usefixtures("within_an_hour")
def test_rows_join_read_beside_each_other_and_leave() -> None:
    model = tiny_model()
    limits = limits_of(model, max_rows=8, chunk_tokens=64)
    watched = Watched(model)
    pace = rehearse(watched, limits, context_length=CONTEXT_LENGTH)
    assert {(rows, 1) for rows in (1, 2, 3, 4)} <= set(watched.shapes)  # they join one by one
    together = {rows for rows, tokens in watched.shapes if tokens == 1}
    assert {8, 16, 32, 64} <= together  # with chunks of all sizes beside them
    assert {(1, 64)} <= set(watched.shapes)  # and between their steps
    assert pace.apart(4000) >= 16
    assert mx.get_peak_memory() < 2**20  # what it took does not count as the server's


@pytest.mark.usefixtures("within_an_hour")
def test_a_short_context_and_models_that_read_apart_are_no_obstacle() -> None:
    watched = Watched(tiny_model())
    rehearse(watched, LIMITS, context_length=65)
    assert sum(tokens for _, tokens in watched.shapes if tokens > 1) >= 64


@pytest.mark.usefixtures("within_an_hour")
@pytest.mark.parametrize("compiles", [True, False])
@pytest.mark.parametrize("most", [1, 2, 3])
def test_few_rows_are_enough(most: int, compiles: bool) -> None:  # noqa: FBT001
    """Where kernels are compiled it is done twice: the first time says nothing of what reading costs."""
    model = tiny_model()
    watched = Watched(model)
    limits = where_kernels(limits_of(model, max_rows=most, chunk_tokens=64), compiles=compiles)
    rehearse(watched, limits, context_length=CONTEXT_LENGTH)
    read = sum(rows * tokens for rows, tokens in watched.shapes)
    assert read > (2 if compiles else 1) * 2 * 64


@pytest.mark.usefixtures("within_an_hour")
def test_where_each_size_has_kernels_of_its_own_clients_come_in_all_numbers_and_lengths() -> None:
    watched = Watched(tiny_model())
    limits = Limits(max_rows=8, chunks=ON_CUDA.up_to(64))
    pace = rehearse(watched, limits, context_length=CONTEXT_LENGTH)
    assert {(rows, 1) for rows in range(1, 9)} <= set(watched.shapes)
    read = [tokens for rows, tokens in watched.shapes if rows == 1 and tokens > 1]
    assert any(tokens % 8 for tokens in read)
    assert pace.apart(4000) >= 16


def where_kernels(limits: Limits, *, compiles: bool) -> Limits:
    return replace(limits, chunks=limits.chunks._replace(are_few=compiles))


@pytest.mark.parametrize("compiles", [True, False])
def test_it_ends_when_it_takes_too_long(compiles: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001
    monkeypatch.setattr(LIMIT if compiles else LIMIT_COMPILED, 0.0)
    watched = Watched(tiny_model())
    rehearse(watched, where_kernels(LIMITS, compiles=compiles), context_length=CONTEXT_LENGTH)
    assert not watched.shapes


def test_a_model_that_fails_is_served_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        pace = rehearse(Watched(tiny_model(), fails=True), LIMITS, context_length=CONTEXT_LENGTH)
    assert pace.apart(4000) == 64
    assert "first run of the model failed" in caplog.text
