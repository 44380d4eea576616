"""The list of models as Anthropic's clients read it, page by page when they ask for pages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypedDict
from urllib.parse import parse_qs

from ollaproject.wire.openai_errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.status.model_list import ModelEntry

MAX_LIMIT = 1000
BAD_REQUEST = 400


class Model(TypedDict):
    type: str
    id: str
    display_name: str
    created_at: str


class Page(TypedDict):
    data: list[Model]
    first_id: str | None
    last_id: str | None
    has_more: bool


def page(entries: Sequence[ModelEntry], query: bytes) -> Page:
    """All of `entries`, or what `limit`, `after_id` and `before_id` ask for. Raises ApiError 400."""
    asked = {name: values[0] for name, values in parse_qs(query.decode("latin-1")).items()}
    models = [model(entry) for entry in entries]
    ids = [each["id"] for each in models]
    start = _place(ids, asked["after_id"], "after_id") + 1 if "after_id" in asked else 0
    end = _place(ids, asked["before_id"], "before_id") if "before_id" in asked else len(models)
    limit = _limit(asked["limit"]) if "limit" in asked else len(models)
    if "before_id" in asked:
        shown = models[max(start, end - limit) : end]
        has_more = end - limit > start
    else:
        shown = models[start : min(end, start + limit)]
        has_more = start + limit < end
    return {
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": has_more,
    }


def model(entry: ModelEntry) -> Model:
    """A model has no other name for people here than its id."""
    created = datetime.fromtimestamp(entry["created"], UTC).isoformat().replace("+00:00", "Z")
    return {"type": "model", "id": entry["id"], "display_name": entry["id"], "created_at": created}


def _place(ids: list[str], name: str, param: str) -> int:
    if name not in ids:
        raise ApiError(BAD_REQUEST, "invalid_value", f"{param}: there is no model {name!r}.", param=param)
    return ids.index(name)


def _limit(word: str) -> int:
    if not (word.isascii() and word.isdigit() and 0 < int(word) <= MAX_LIMIT):
        raise ApiError(BAD_REQUEST, "invalid_value", f"limit: must be 1 to {MAX_LIMIT}.", param="limit")
    return int(word)
