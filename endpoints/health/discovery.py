"""What an endpoint serves: which of the models of its list are wanted, and what of that is new."""

from __future__ import annotations

from datetime import timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from endpoints.choices import ROUTABLE
from endpoints.models import EndpointHealth, EndpointModel

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from endpoints.health.findings import FoundModel

RESYNC_AFTER = timedelta(seconds=30)
DETAILS = (
    "max_model_len",
    "family",
    "parameter_size",
    "quantization",
    "size_bytes",
    "capabilities",
    "is_loaded",
)


def is_wanted(health: EndpointHealth, *, at: datetime) -> bool:
    """Whether a check at `at` should read the models too: it may be about to come up, or the list is old."""
    synced_at = health.models_synced_at
    return health.status not in ROUTABLE or synced_at is None or at - synced_at > RESYNC_AFTER


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
    changed = [kept[model.name] for model in found if _take_over(kept.get(model.name), model)]
    if gone:
        EndpointModel.objects.filter(pk__in=gone).delete()
    EndpointModel.objects.filter(endpoint=health.pk).update(last_seen_at=at)
    EndpointModel.objects.bulk_create(new)
    EndpointModel.objects.bulk_update(changed, DETAILS)
    EndpointHealth.objects.filter(pk=health.pk).update(models_synced_at=at)
    return bool(gone or new or changed)


def _row(endpoint_id: int, model: FoundModel, at: datetime) -> EndpointModel:
    return EndpointModel(
        endpoint_id=endpoint_id,
        name=model.name,
        created=int(at.timestamp()) if model.created is None else model.created,
        first_seen_at=at,
        last_seen_at=at,
        **_details(model),
    )


def _details(model: FoundModel) -> dict[str, Any]:
    return {
        "max_model_len": model.max_model_len,
        "family": model.family,
        "parameter_size": model.parameter_size,
        "quantization": model.quantization,
        "size_bytes": model.size_bytes,
        "capabilities": list(model.capabilities),
        "is_loaded": model.loaded,
    }


def _take_over(row: EndpointModel | None, model: FoundModel) -> bool:
    """Take new details over into `row`. `created` stays: many servers make it up in each answer."""
    if row is None:
        return False
    changed = {name: value for name, value in _details(model).items() if getattr(row, name) != value}
    for name, value in changed.items():
        setattr(row, name, value)
    return bool(changed)


def _lowered(globs: Iterable[str]) -> tuple[str, ...]:
    return tuple(glob.lower() for glob in globs)


def _matches(name: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name.lower(), glob) for glob in globs)
