"""What a model is going to take, against what its machine has free: said before anything is started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils.translation import gettext

from inference.local import room
from ollaproject.wire.numbers import size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inference.models import LocalModel, ModelHost


@dataclass(frozen=True, slots=True)
class Estimate:
    """In bytes. `host` is the machine that it would run on; without one, `free` is not known."""

    needed: int
    free: int | None = None
    host: str = ""

    @property
    def fits(self) -> bool:
        return self.free is None or self.needed <= self.free

    @property
    def words(self) -> str:
        """`needs 5.1 GB, 9.3 GB free on mini-2`."""
        if self.free is None:
            return self.short
        return gettext("{sizes} on {host}").format(sizes=self.short, host=self.host)

    @property
    def short(self) -> str:
        """`needs 5.1 GB, 9.3 GB free`, where the machine is named beside it."""
        if self.free is None:
            return gettext("needs {needed}").format(needed=size(self.needed))
        return gettext("needs {needed}, {free} free").format(needed=size(self.needed), free=size(self.free))


def estimate(
    model: LocalModel, facts: dict[str, dict[str, int]], machines: Sequence[ModelHost]
) -> Estimate | None:
    """For the machine that `model` names, or the one with the most free memory out of those that are alive.

    None while nothing is known of its files and no budget is set.
    """
    possible = [each for each in machines if model.host in ("", each.name)]
    best = max(possible, key=lambda each: each.memory_free, default=None)
    needed = room.needed_bytes(model, facts, free=best.memory_free if best else None)
    if needed is None:
        return None
    return Estimate(needed, best.memory_free, best.name) if best else Estimate(needed)
