"""Local models as `manage.py models` prints them: a table for people, rows for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from inference.local import cards, hosts, record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inference.models import LocalModel

COLUMNS = ("name", "state", "memory", "machine", "how it is")


class Row(TypedDict):
    """Sizes in bytes, times in RFC 3339. `done` of `total` as in LocalModelStatus."""

    name: str
    state: str
    said: str
    wanted: str
    source: str
    revision: str
    kind: str
    host: str
    done: int
    total: int
    bytes_per_second: float
    memory_bytes: int | None
    needed_bytes: int | None
    last_used_at: str | None
    endpoint_id: int | None


def rows(found: Sequence[LocalModel]) -> list[Row]:
    machines = hosts.alive()
    return [_row(model, cards.card_of(model, record.status_of(model), machines)) for model in found]


def _row(model: LocalModel, card: cards.Card) -> Row:
    status = record.status_of(model)
    return {
        "name": model.name,
        "state": str(card.state),
        "said": card.said,
        "wanted": str(model.wanted),
        "source": model.source,
        "revision": model.revision,
        "kind": model.kind,
        "host": card.host,
        "done": status.done,
        "total": status.total,
        "bytes_per_second": status.bytes_per_second,
        "memory_bytes": status.memory_bytes,
        "needed_bytes": card.estimate.needed if card.estimate else None,
        "last_used_at": status.last_used_at.isoformat() if status.last_used_at else None,
        "endpoint_id": status.endpoint_id,
    }


def table(found: Sequence[LocalModel]) -> str:
    if not found:
        return "There are no local models. Add one in the admin, or with manage.py models pull SOURCE."
    lines = [COLUMNS, *(_cells(card) for card in cards.cards_of(found, hosts.alive()))]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _cells(card: cards.Card) -> tuple[str, ...]:
    memory = card.memory or (card.estimate.words if card.estimate else "-")
    return (card.name, str(card.state.label), memory, card.host or "any", card.said or card.source)
