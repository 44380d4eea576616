"""What an endpoint serves: reads its list of models, filters it, and stores the difference."""

from __future__ import annotations

import json
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from endpoints.choices import Status
from endpoints.errors import DiscoveryError
from endpoints.findings import FoundModel
from endpoints.models import EndpointHealth, EndpointModel

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

RESYNC_AFTER = timedelta(seconds=30)
MAX_MODELS = 10_000
MAX_MODEL_NAME_LENGTH = 300
MAX_INTEGER = 2**31 - 1


def is_wanted(health: EndpointHealth, *, at: datetime) -> bool:
    """Whether a check at `at` should read the models too: it may be about to come up, or the list is old."""
    synced_at = health.models_synced_at
    return health.status != Status.HEALTHY or synced_at is None or at - synced_at > RESYNC_AFTER


def parse(body: bytes) -> tuple[FoundModel, ...]:
    """The models of an OpenAI list, each name once. Raises DiscoveryError, which says what is wrong."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise DiscoveryError("the answer is not JSON") from None
    entries = document.get("data") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise DiscoveryError('the answer is not a list of models (an object with a list called "data")')
    if len(entries) > MAX_MODELS:
        raise DiscoveryError(f"the list holds {len(entries)} models, more than {MAX_MODELS}")
    found = {model.name: model for model in map(_model, entries)}
    return tuple(found.values())


def let_through(
    models: Iterable[FoundModel], *, include: Iterable[str], exclude: Iterable[str]
) -> tuple[FoundModel, ...]:
    """The models that match one of `include` (empty: all) and none of `exclude`. Case does not matter."""
    wanted, unwanted = _lowered(include), _lowered(exclude)
    return tuple(
        model
        for model in models
        if (not wanted or _matches(model.name, wanted)) and not _matches(model.name, unwanted)
    )


def store(health: EndpointHealth, *, found: tuple[FoundModel, ...], at: datetime) -> bool:
    """Make the stored models of an endpoint those of `found`. Returns whether routing is affected."""
    kept = {row.name: row for row in EndpointModel.objects.filter(endpoint=health.pk)}
    names = {model.name for model in found}
    gone = [row.pk for name, row in kept.items() if name not in names]
    new = [_row(health.pk, model, at) for model in found if model.name not in kept]
    resized = [kept[model.name] for model in found if _resize(kept.get(model.name), model)]
    if gone:
        EndpointModel.objects.filter(pk__in=gone).delete()
    EndpointModel.objects.filter(endpoint=health.pk).update(last_seen_at=at)
    EndpointModel.objects.bulk_create(new)
    EndpointModel.objects.bulk_update(resized, ["max_model_len"])
    EndpointHealth.objects.filter(pk=health.pk).update(models_synced_at=at)
    return bool(gone or new or resized)


def _row(endpoint_id: int, model: FoundModel, at: datetime) -> EndpointModel:
    return EndpointModel(
        endpoint_id=endpoint_id,
        name=model.name,
        created=int(at.timestamp()) if model.created is None else model.created,
        max_model_len=model.max_model_len,
        first_seen_at=at,
        last_seen_at=at,
    )


def _resize(row: EndpointModel | None, model: FoundModel) -> bool:
    """Take a new context length over into `row`. `created` stays: many servers make it up in each answer."""
    if row is None or row.max_model_len == model.max_model_len:
        return False
    row.max_model_len = model.max_model_len
    return True


def _model(entry: Any) -> FoundModel:
    name = entry.get("id") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not name or not name.isprintable():
        raise DiscoveryError('an entry of the list has no "id"')
    if len(name) > MAX_MODEL_NAME_LENGTH:
        raise DiscoveryError(f"a model's id is longer than {MAX_MODEL_NAME_LENGTH} characters")
    return FoundModel(
        name=name,
        created=_whole_number(entry.get("created")),
        max_model_len=_whole_number(entry.get("max_model_len")) or None,
    )


def _whole_number(value: Any) -> int | None:
    """`value` where it is a number that a row can hold. Decoration need not be right to be tolerated."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= MAX_INTEGER:
        return None
    return int(value)


def _lowered(globs: Iterable[str]) -> tuple[str, ...]:
    return tuple(glob.lower() for glob in globs)


def _matches(name: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name.lower(), glob) for glob in globs)
