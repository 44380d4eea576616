"""What tokens cost, when a team charges for them: a price per million tokens by pattern of the name."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from proxy.models import ModelPrice

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MILLION: Final = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class PriceList:
    """The prices of one moment. Usage of the past is shown at the prices of now.

    `models` are those that each of the rows is the price of, by its place, once somebody has looked them up.
    """

    rows: Sequence[ModelPrice]
    models: Mapping[int, Sequence[str]] | None = None

    @classmethod
    def current(cls) -> PriceList:
        return cls(list(ModelPrice.objects.all()))

    def __bool__(self) -> bool:
        return bool(self.rows)

    def of(self, model: str) -> ModelPrice | None:
        """The price of a model: that of the most exact pattern, by its letters that are no `*` or `?`."""
        fitting = [row for row in self.rows if fnmatchcase(model.lower(), row.pattern.lower())]
        return max(fitting, key=lambda row: len(row.pattern.replace("*", "").replace("?", "")), default=None)

    def for_models(self, models: Iterable[str]) -> PriceList:
        """The same, with which of these models each price is for."""
        found: dict[int, list[str]] = {}
        places = {row.pk: place for place, row in enumerate(self.rows)}
        for model in models:
            if (price := self.of(model)) is not None:
                found.setdefault(places[price.pk], []).append(model)
        return PriceList(self.rows, found)


def cost_at(price: ModelPrice, tokens: Mapping[str, int]) -> Decimal:
    """What `prompt_tokens`, of which `cached_tokens` were known, and `completion_tokens` cost."""
    cached = tokens["cached_tokens"]
    fresh = max(0, tokens["prompt_tokens"] - cached)
    cached_price = price.prompt if price.cached is None else price.cached
    whole = fresh * price.prompt + cached * cached_price + tokens["completion_tokens"] * price.completion
    return whole / MILLION
