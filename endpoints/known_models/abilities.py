"""What a model can do for a request, as far as its server or its name tell (`model_details`).

What nobody tells, it may be able to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

CHAT, VISION, TOOLS, EMBEDDINGS = "chat", "vision", "tools", "embeddings"
# Capabilities that say what kind of model it is. One of another kind, such as for speech, does not chat.
WRITES: Final = frozenset({CHAT, "completion"})
KINDS: Final = WRITES | {EMBEDDINGS, "rerank", "audio"}


class Fit(IntEnum):
    """How a model suits a request: higher is better."""

    CANNOT = 0
    MAY = 1
    CAN = 2


@dataclass(frozen=True, slots=True)
class Abilities:
    """What is known either way."""

    can: frozenset[str] = frozenset()
    cannot: frozenset[str] = frozenset()

    def fit(self, needs: frozenset[str]) -> Fit:
        if needs & self.cannot:
            return Fit.CANNOT
        return Fit.CAN if needs <= self.can else Fit.MAY


UNKNOWN: Final = Abilities()


def abilities_of(capabilities: Collection[str], *, told: bool) -> Abilities:
    """From a model's capabilities; `told` says that its server named them, and no mere name did.

    A server that says of which kind a model is, is taken to say everything.
    """
    can = frozenset(capabilities)
    kinds = can & KINDS
    if kinds and not kinds & WRITES:
        return Abilities(can, frozenset({CHAT, VISION, TOOLS, EMBEDDINGS}) - can)
    if kinds and told:
        return Abilities(can | {CHAT}, frozenset({VISION, TOOLS, EMBEDDINGS}) - can)
    return Abilities(can)
