"""How much a key or a team may use. What it does not say itself, the settings say for all; 0 is no limit."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

# The limits as people write them in settings and commands, and the fields that hold them.
WORDS = {
    "rpm": "requests_per_minute",
    "tpm": "tokens_per_minute",
    "concurrent": "concurrent",
    "tokens-per-day": "tokens_per_day",
    "tokens-per-month": "tokens_per_month",
    "max-tokens": "max_tokens",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """None is no limit. `concurrent` counts requests, `max_tokens` is what one request may ask for."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent: int | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None
    max_tokens: int | None = None

    def __bool__(self) -> bool:
        """Whether there is any limit."""
        return any(getattr(self, field.name) is not None for field in fields(self))

    @property
    def counted(self) -> bool:
        """Whether there is one that goes by what was used before."""
        return any(
            getattr(self, field.name) is not None for field in fields(self) if field.name != "max_tokens"
        )

    @property
    def has_budget(self) -> bool:
        return self.tokens_per_day is not None or self.tokens_per_month is not None

    @classmethod
    def of(cls, row: object, defaults: Mapping[str, int]) -> Self:
        """Those of a row that has a field for each. `defaults` are by the words of a setting."""
        found: dict[str, int | None] = {}
        for word, name in WORDS.items():
            own = getattr(row, name, None)
            found[name] = (defaults.get(word) if own is None else own) or None
        return cls(**found)
