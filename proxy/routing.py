"""Which endpoints may answer a request, best first: highest priority, and in turns among equals.

Answers come out of a table that is filled as questions come and thrown away when the routing table changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count, groupby
from typing import TYPE_CHECKING

from endpoints.choices import Mode
from endpoints.snapshot import snapshot
from proxy import errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from endpoints.snapshot import Snapshot, Target
    from ollaproject.wire.openai_errors import ApiError
    from proxy.paths import Surface

STRATEGY = "strict"
# A client may ask for any number of names; only what leads somewhere is kept, and no more than this.
MAX_ROUTES = 4096


@dataclass(slots=True)
class Route:
    """The candidates for one model on one surface, by priority, and whose turn it is in each tier."""

    tiers: tuple[tuple[Target, ...], ...]
    turns: Iterator[int]

    def in_order(self) -> tuple[Target, ...]:
        if len(self.tiers) == 1 and len(self.tiers[0]) == 1:
            return self.tiers[0]
        turn = next(self.turns)
        return tuple(target for tier in self.tiers for target in rotated(tier, turn))


def rotated(tier: tuple[Target, ...], turn: int) -> tuple[Target, ...]:
    start = turn % len(tier)
    return tier[start:] + tier[:start]


class Router:
    """Finds candidates in the newest snapshot."""

    def __init__(self) -> None:
        self._seen: Snapshot | None = None
        self._routes: dict[tuple[str, str | None], Route] = {}

    def candidates(self, surface: Surface, model: str | None) -> tuple[Target, ...]:
        """Who may answer, best first; `model` is None when the request names none.

        Raises ApiError: 404 model_not_found, 503 model_unavailable or no_healthy_endpoint.
        """
        now = snapshot()
        if now is not self._seen:
            self._seen = now
            self._routes = {}
        key = (surface.label, model)
        route = self._routes.get(key)
        if route is None:
            route = Route(tiers_of(usable(now, surface, model)), count())
            if len(self._routes) < MAX_ROUTES:
                self._routes[key] = route
        return route.in_order()


def usable(now: Snapshot, surface: Surface, model: str | None) -> list[Target]:
    """The routable endpoints of a surface that serve `model`. Raises ApiError when there are none."""
    present = [target for target in now.targets if surface.admits(target.type)]
    serving = present if model is None else [target for target in present if model in target.model_names]
    routable = [target for target in serving if target.routable]
    if routable:
        return routable
    raise _refusal(surface, model, present, serving)


def tiers_of(targets: Iterable[Target]) -> tuple[tuple[Target, ...], ...]:
    """Grouped by priority, highest first. The snapshot has them in this order."""
    return tuple(tuple(tier) for _, tier in groupby(targets, key=lambda target: target.priority))


def states(targets: Iterable[Target]) -> list[str]:
    return [state_of(target) for target in targets]


def state_of(target: Target) -> str:
    """Why an endpoint does not serve, in a few words."""
    if target.mode != Mode.ACTIVE:
        return f"{target.name} is {target.mode.value}"
    word = target.status.label.lower()
    return f"{target.name} is {word} ({target.reason})" if target.reason else f"{target.name} is {word}"


def _refusal(
    surface: Surface, model: str | None, present: Sequence[Target], serving: Sequence[Target]
) -> ApiError:
    if model is None or not present:
        return errors.no_healthy_endpoint(surface.label, states(present))
    if serving:
        refusal = errors.model_unavailable(model, states(serving))
        return _with_routing(refusal, "model_unavailable")
    # An endpoint that was never well has told us nothing about its models: it may be the one.
    silent = [target for target in present if not target.models]
    if silent and not any(target.routable for target in present):
        return errors.no_healthy_endpoint(surface.label, states(present))
    known = sorted({name for target in present if target.routable for name in target.model_names})
    return _with_routing(errors.model_not_found(model, known), "model_not_found")


def _with_routing(refusal: ApiError, reason: str) -> ApiError:
    refusal.headers.update(
        {
            "X-Olla-Routing-Strategy": STRATEGY,
            "X-Olla-Routing-Decision": "rejected",
            "X-Olla-Routing-Reason": reason,
        }
    )
    return refusal
