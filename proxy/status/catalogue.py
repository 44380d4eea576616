"""The models of the fleet by family: what each is, where it is served and loaded, and how much it is used.

Pure but for `used`: a routing table and sums in, values for the pages out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.db.models import Sum

from endpoints.known_models.model_names import UNKNOWN
from endpoints.routing.snapshot import is_pattern
from ollaproject.wire.clock import now
from proxy.models import UsageTotal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from endpoints.known_models.model_details import ModelDetails
    from endpoints.routing.snapshot import ServedModel, Snapshot, Target

DAYS: Final = 7
MS_PER_SECOND: Final = 1000


@dataclass(frozen=True, slots=True)
class Use:
    """What a model did in DAYS days. `tokens_per_second`, of one stream after its first token, and `ttft_ms`
    are means, None when not known.
    """

    requests: int = 0
    failures: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    tokens_per_second: float | None = None
    ttft_ms: float | None = None


NO_USE: Final = Use()


@dataclass(frozen=True, slots=True)
class Place:
    """An endpoint that has the model. `loaded` is None where the backend does not tell."""

    target: Target
    served: ServedModel

    @property
    def loaded(self) -> bool | None:
        return self.served.details.loaded if self.served.details else None


@dataclass(frozen=True, slots=True)
class Model:
    """A model of the catalogue, with the place that knows most about it first."""

    name: str
    places: tuple[Place, ...]
    aliases: tuple[str, ...] = ()
    use: Use = field(default=NO_USE)

    @property
    def details(self) -> ModelDetails | None:
        return next((place.served.details for place in self.places if place.served.details), None)

    @property
    def family(self) -> str:
        return self.details.family if self.details else UNKNOWN

    @property
    def served_now(self) -> bool:
        return any(place.target.routable for place in self.places)

    @property
    def loaded_at(self) -> list[str]:
        return [place.target.name for place in self.places if place.loaded]

    @property
    def context(self) -> int | None:
        """The longest of any place, in tokens."""
        known = [place.served.max_model_len for place in self.places if place.served.max_model_len]
        return max(known, default=self.details.context if self.details else None)

    @property
    def capabilities(self) -> list[str]:
        told = [place.served.details.capabilities for place in self.places if place.served.details]
        return sorted(frozenset().union(*told))


@dataclass(frozen=True, slots=True)
class Family:
    name: str
    models: tuple[Model, ...]


def models(table: Snapshot, uses: Mapping[str, Use]) -> list[Model]:
    """Every model of the table, by name."""
    places: dict[str, list[Place]] = {}
    for target in table.targets:
        for served in target.models:
            places.setdefault(served.name, []).append(Place(target, served))
    aliases: dict[str, list[str]] = {}
    for alias, behind in table.aliases.items():
        for name in behind.models:
            aliases.setdefault(name, []).append(alias)
    return [
        Model(name, tuple(where), tuple(aliases.get(name, ())), uses.get(name, NO_USE))
        for name, where in sorted(places.items(), key=lambda pair: pair[0].casefold())
    ]


def families(found: Iterable[Model]) -> list[Family]:
    """By name; what belongs to none comes last."""
    ordered = sorted(found, key=lambda model: (model.family == UNKNOWN, model.family, model.name.casefold()))
    return [Family(name, tuple(group)) for name, group in groupby(ordered, key=lambda model: model.family)]


class AliasRow(NamedTuple):
    """An alias and the models behind it, in their order. A pattern (`claude-*`) has no page of its own."""

    name: str
    models: tuple[str, ...]
    is_pattern: bool


def aliases(table: Snapshot) -> list[AliasRow]:
    return [AliasRow(name, alias.models, is_pattern(name)) for name, alias in table.aliases.items()]


def used() -> dict[str, Use]:
    """What each model did in the last DAYS days, by its name. One query."""
    since = now().date() - timedelta(days=DAYS - 1)
    sums = (
        *("requests", "failures", "prompt_tokens", "completion_tokens"),
        *("ttft_ms", "begun", "timed_tokens", "writing_ms"),
    )
    rows = (
        UsageTotal.objects.filter(day__gte=since)
        .exclude(model="")
        .order_by()
        .values("model")
        .annotate(**{f"all_{name}": Sum(name) for name in sums})
    )
    return {row["model"]: _use(row) for row in rows}


def _use(row: Any) -> Use:
    timed, writing_ms, begun = row["all_timed_tokens"], row["all_writing_ms"], row["all_begun"]
    return Use(
        requests=int(row["all_requests"]),
        failures=int(row["all_failures"]),
        prompt_tokens=int(row["all_prompt_tokens"]),
        completion_tokens=int(row["all_completion_tokens"]),
        tokens_per_second=timed * MS_PER_SECOND / writing_ms if timed and writing_ms > 0 else None,
        ttft_ms=row["all_ttft_ms"] / begun if begun else None,
    )
