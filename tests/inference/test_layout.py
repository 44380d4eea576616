"""Weights that were turned round for OpenBLAS say what they said before, and lie where they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlx.core as mx
import pytest
from mlx import nn

from inference.layout import FEWEST_OUTPUTS, lay_out, pays
from tests.inference.families import FAMILIES, family_model

if TYPE_CHECKING:
    from pathlib import Path

IDS = mx.array([[5, 6, 7, 8, 9, 10]])
ROUNDING = 1e-5


def is_turned(module: Any) -> bool:
    """Whether neighbours in memory are of the same input, not of the same output."""
    strides = memoryview(module.weight).strides
    assert strides is not None
    outputs, inputs = strides[-2:]
    return outputs < inputs


class Wide(nn.Module):
    """A vocabulary with a head that is tied to it, or of its own."""

    def __init__(self, *, tied: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.embed_tokens = nn.Embedding(FEWEST_OUTPUTS, 8)
        self.hidden = nn.Linear(8, 8)
        if not tied:
            self.lm_head = nn.Linear(8, FEWEST_OUTPUTS, bias=False)

    def __call__(self, ids: Any) -> Any:
        hidden = self.hidden(self.embed_tokens(ids))
        head: Any = self.lm_head if "lm_head" in self else self.embed_tokens.as_linear
        return head(hidden)


def is_the_same(logits: Any, before: Any) -> bool:
    """But for rounding: some processors add in another order when a matrix lies the other way round."""
    return bool(mx.abs(logits - before).max() <= ROUNDING * mx.abs(before).max())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_says_the_same(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.layout.FEWEST_OUTPUTS", 1)
    model = family_model(family)
    before = model(IDS)
    mx.eval(before)
    lay_out(model)
    assert any(
        is_turned(module) for module in model.modules() if "weight" in module and module.weight.ndim > 1
    )
    assert is_the_same(model(IDS), before)


@pytest.mark.parametrize("tied", [True, False])
def test_the_vocabulary_is_turned_where_it_is_the_head(*, tied: bool) -> None:
    model = Wide(tied=tied)
    before = model(IDS)
    mx.eval(before)
    lay_out(model)
    assert is_turned(model.embed_tokens) is tied
    assert tied or is_turned(model.lm_head)
    assert not is_turned(model.hidden)  # too narrow to gain
    assert is_the_same(model(IDS), before)


def test_what_is_no_float32_stays() -> None:
    model = Wide(tied=False)
    model.lm_head.set_dtype(mx.float16)
    lay_out(model)
    assert not is_turned(model.lm_head)


@pytest.mark.parametrize(("flags", "expected"), [("fpu avx2 fma", True), ("fpu avx2 avx512f fma", False)])
def test_it_pays_where_openblas_has_no_other_code_for_it(
    tmp_path: Path, flags: str, *, expected: bool
) -> None:
    cpu = tmp_path / "cpuinfo"
    cpu.write_text(f"processor : 0\nflags : {flags}\n")
    assert pays(cpu) is expected
    assert pays(tmp_path / "nothing")
