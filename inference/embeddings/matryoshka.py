"""Shorter vectors: embedding models trained for it keep most of their sense in their first dimensions.

Whether one was, its config.json says as vLLM reads it: `is_matryoshka`, or `matryoshka_dimensions` with the
lengths that it was trained for. Others' vectors cannot be cut without harm, so they are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NORM_FLOOR = 1e-12


@dataclass(frozen=True, slots=True)
class Lengths:
    """The lengths that a model's vectors may have: `whole`, one of `shorter`, or with `any_shorter` any."""

    whole: int
    shorter: tuple[int, ...] = ()
    any_shorter: bool = False

    @classmethod
    def from_config(cls, config: dict[str, Any], *, whole: int) -> Lengths:
        """Of config.json. What it says in another form than a list of numbers counts as not said."""
        named = config.get("matryoshka_dimensions")
        if isinstance(named, list) and all(isinstance(one, int) and 0 < one <= whole for one in named):
            return cls(whole, tuple(sorted(named)))
        return cls(whole, any_shorter=config.get("is_matryoshka") is True)

    def allow(self, length: int | None) -> bool:
        """Whether a request may ask for it; None asks for whole ones."""
        if length is None or length == self.whole:
            return True
        return length in self.shorter or (self.any_shorter and 0 < length < self.whole)

    def __str__(self) -> str:
        if self.any_shorter:
            return f"1 to {self.whole}"
        if not self.shorter:
            return str(self.whole)
        return " or ".join(map(str, dict.fromkeys([*self.shorter, self.whole])))


def cut(vectors: NDArray[np.float32], length: int | None) -> NDArray[np.float32]:
    """The first `length` dimensions of `vectors` [inputs, dimensions], of length 1 again; all for None."""
    if length is None or length == vectors.shape[-1]:
        return vectors
    short = vectors[:, :length]
    lengths = np.maximum(np.linalg.norm(short, axis=-1, keepdims=True), NORM_FLOOR)
    return np.asarray(short / lengths, dtype=np.float32)
