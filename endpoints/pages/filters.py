"""Which cards a page shows: what its URL asks for, by status, type, tag, and a piece of a model's name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from endpoints.choices import Mode, Status
from endpoints.pages.overview import MODE_WORDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.http import QueryDict

    from endpoints.pages.overview import Card


@dataclass(frozen=True, slots=True)
class Filter:
    """What an empty field asks for is everything. `status` is a Status, or the mode of one set aside."""

    status: str = ""
    type: str = ""
    tag: str = ""
    model: str = ""

    @property
    def query(self) -> str:
        """The filter as the query of a URL, with its `?`; empty when it lets everything through."""
        asked = {"status": self.status, "type": self.type, "tag": self.tag, "model": self.model}
        asked = {name: value for name, value in asked.items() if value}
        return f"?{urlencode(asked)}" if asked else ""

    def lets_through(self, card: Card) -> bool:
        return (
            self.status in {"", state_of(card)}
            and self.type in {"", card.type}
            and (not self.tag or self.tag in card.tags)
            and (not self.model or any(self.model.casefold() in name.casefold() for name in card.models))
        )


def asked_for(query: QueryDict) -> Filter:
    return Filter(**{name: query.get(name, "").strip()[:100] for name in ("status", "type", "tag", "model")})


def state_of(card: Card) -> str:
    """What its pill says: the mode of an endpoint that was set aside, else its status."""
    return str(card.status if card.mode == Mode.ACTIVE else card.mode)


def states(cards: Iterable[Card], chosen: str) -> list[tuple[str, str]]:
    """What there is to choose, with its words; also what was chosen, though no endpoint may be so now."""
    words = {str(status): str(status.label) for status in Status}
    words |= {str(mode): str(word) for mode, word in MODE_WORDS.items() if mode != Mode.ACTIVE}
    there = {state_of(card) for card in cards} | {chosen}
    return [(state, word) for state, word in words.items() if state in there]
