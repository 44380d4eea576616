"""Which endpoints may answer a request, and in which order they are tried: the strategy's, tier by tier.

Routes come out of a table that is filled as questions come and thrown away when the routing table changes.
"""

from __future__ import annotations

from itertools import count, groupby
from typing import TYPE_CHECKING

import msgspec

from endpoints.known_models.abilities import Fit
from endpoints.routing.selection import Candidate, Loads, Tier
from endpoints.routing.snapshot import snapshot
from endpoints.routing.strategies import STRATEGIES
from proxy.routing import refusals
from proxy.routing.plan import ALIAS
from proxy.routing.route import Route

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from endpoints.routing.selection import Strategy
    from endpoints.routing.snapshot import Alias, Snapshot, Target
    from proxy.access.patterns import Names
    from proxy.request.paths import Surface

STRICT, OPTIMISTIC, DISCOVERY = "strict", "optimistic", "discovery"
# In optimistic routing these stand in for a model that nobody serves: who may do the same, all, none.
COMPATIBLE, ALL, NONE = "compatible_only", "all", "none"
# A client may ask for any number of names; only what leads somewhere is kept, and no more than this.
MAX_ROUTES = 20_000


class Question(msgspec.Struct, frozen=True):
    """What routing goes by. `model` is None when the request names none, `endpoints` who may answer (any);
    `purpose` is the ability that its route is about, such as `chat`, empty for others.
    """

    surface: Surface
    model: str | None
    endpoints: Names | None = None
    purpose: str = ""


class Router:
    """Finds routes in the newest snapshot. `mode` is OLLA_ROUTING_STRATEGY, `fallback` what stands in."""

    def __init__(self, strategy: Strategy, *, mode: str = STRICT, fallback: str = COMPATIBLE) -> None:
        self.strategy = strategy
        self.mode = mode
        self.loads = Loads()
        self._fallback = fallback
        # What aliases have instead of it, each made when first needed.
        self._others: dict[str, Strategy] = {}
        self._seen: Snapshot | None = None
        self._routes: dict[Question, Route] = {}
        self._first_turns = count()

    def route(self, question: Question) -> Route:
        """Who may answer, by priority.

        Raises ApiError: 404 model_not_found, 503 model_unavailable or no_healthy_endpoint.
        """
        now = snapshot()
        if now is not self._seen:
            self._seen = now
            self._routes = {}
        route = self._routes.get(question)
        if route is None:
            route = self._found(now, question)
            if len(self._routes) < MAX_ROUTES:
                self._routes[question] = route
        return route

    def knows(self, question: Question) -> bool:
        """Whether any endpoint, well or not, serves what is asked for, or an alias stands for it."""
        now, model = snapshot(), question.model
        if model is None or (now is self._seen and question in self._routes):
            return True
        if alias_for(now, question):
            return True
        return any(serves(target, model) for target in now.targets if within_reach(target, question))

    def sleepers(self, question: Question) -> list[Target]:
        """Who could be woken to answer, the preferred first; nobody when somebody can answer now."""
        now = snapshot()
        if question.model is None:
            return []
        alias = alias_for(now, question)
        names = alias.models if alias else (question.model,)
        present = [target for target in now.targets if within_reach(target, question)]
        serving = [target for name in names for target in present if serves(target, name)]
        if any(target.routable for target in serving):
            return []
        return [target for target in serving if target.wakeable]

    def _found(self, now: Snapshot, question: Question) -> Route:
        model = question.model
        alias = alias_for(now, question)
        names = alias.models if alias else (model,)
        present = [target for target in now.targets if within_reach(target, question)]
        tiers: list[Tier] = []
        for name in names:
            targets = [target for target in present if target.routable and serves(target, name)]
            if name is None:
                targets = best_for(targets, question.purpose)
            tiers += self._tiers_of(targets, name, renamed=alias is not None)
        if tiers:
            how = ALIAS if alias else self.mode
            strategy = self._strategy_of(alias)
            return Route(tuple(tiers), strategy, (how, "routed", "model_found"), names[0] if alias else None)
        serving = [target for target in present if any(serves(target, name) for name in names)]
        if alias is None and model is not None and self.mode == OPTIMISTIC:
            stand_in = self._stand_in(present, question, serving)
            if stand_in is not None:
                return stand_in
        raise refusals.refusal(question, present, serving, ALIAS if alias else self.mode)

    def _stand_in(
        self, present: Sequence[Target], question: Question, serving: Sequence[Target]
    ) -> Route | None:
        """Those that may answer although they do not list the model. They are asked for it by its name."""
        targets = [target for target in present if target.routable]
        if self._fallback == COMPATIBLE:
            targets = [target for target in targets if fit_of(target, question.purpose) > Fit.CANNOT]
        if not targets or self._fallback == NONE:
            return None
        reason = "model_unavailable_fallback" if serving else "model_not_found_fallback"
        if self._fallback == ALL:
            reason = "all_healthy_fallback"
        tiers = self._tiers_of(targets, None, renamed=False)
        return Route(tiers, self.strategy, (self.mode, "fallback", reason))

    def _strategy_of(self, alias: Alias | None) -> Strategy:
        name = alias.strategy if alias else ""
        if name not in STRATEGIES:
            return self.strategy
        return self._others.setdefault(name, STRATEGIES[name]())

    def _tiers_of(self, targets: Iterable[Target], model: str | None, *, renamed: bool) -> tuple[Tier, ...]:
        """Grouped by priority, highest first. The snapshot has them in this order."""
        turn = next(self._first_turns)  # so that a table that changes often does not favour its first
        asked = model if renamed else None
        return tuple(
            Tier([self._candidate(target, model, asked) for target in tier], turn)
            for _, tier in groupby(targets, key=lambda target: target.priority)
        )

    def _candidate(self, target: Target, model: str | None, asked: str | None) -> Candidate:
        return Candidate(target, self.loads.of(target.id), asked, target.served(model))


def alias_for(now: Snapshot, question: Question) -> Alias | None:
    """The alias of this name; or the pattern that matches it, when no endpoint has a model of that name."""
    model = question.model
    if model is None:
        return None
    alias = now.aliases.get(model)
    if alias is not None:
        return alias
    alias = now.matching(model)
    if alias is None or any(serves(each, model) for each in now.targets if within_reach(each, question)):
        return None
    return alias


def within_reach(target: Target, question: Question) -> bool:
    """Whether the way in, and the caller's key, lead to an endpoint at all."""
    endpoints = question.endpoints
    return question.surface.admits(target.type) and (endpoints is None or endpoints.admit(target.name))


def serves(target: Target, model: str | None) -> bool:
    return model is None or model in target.model_names


def fit_of(target: Target, purpose: str) -> Fit:
    """How the best of its models suits a purpose. An endpoint whose models are not known may do anything."""
    needs = frozenset({purpose}) if purpose else frozenset[str]()
    return max((model.abilities.fit(needs) for model in target.models), default=Fit.MAY)


def best_for(targets: list[Target], purpose: str) -> list[Target]:
    """Those that may serve a request that names no model, all of them when none may."""
    return [target for target in targets if fit_of(target, purpose) > Fit.CANNOT] or targets
