"""Which endpoints may answer a request, and in which order they are tried: the strategy's, tier by tier.

Routes come out of a table that is filled as questions come and thrown away when the routing table changes.
"""

from __future__ import annotations

from itertools import count, groupby
from typing import TYPE_CHECKING, NamedTuple

from endpoints.choices import Mode
from endpoints.selection import Candidate, Loads, Tier
from endpoints.snapshot import snapshot
from proxy import errors
from proxy.prefix import keys_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from endpoints.selection import Strategy
    from endpoints.snapshot import Snapshot, Target
    from ollaproject.wire.openai_errors import ApiError
    from proxy.paths import Surface
    from proxy.patterns import Names
    from proxy.prefix import Prompt

STRICT, ALIAS = "strict", "alias"
# A client may ask for any number of names; only what leads somewhere is kept, and no more than this.
MAX_ROUTES = 20_000


class Question(NamedTuple):
    """What routing goes by. `model` is None when the request names none, `endpoints` who may answer (any)."""

    surface: Surface
    model: str | None
    endpoints: Names | None = None


Route = tuple[Tier, ...]


class Plan:
    """One request's way through its candidates. Raises ApiError when there are none."""

    __slots__ = ("_keys", "_prompt", "_route", "_router", "_tried", "question", "waits")

    def __init__(
        self, router: Router, question: Question, prompt: Prompt | None = None, *, waits: bool = True
    ) -> None:
        self.question = question
        self.waits = waits  # for a place at an endpoint, when all are full
        self._router = router
        self._prompt = prompt
        self._keys: tuple[int, ...] | None = None
        self._tried: set[int] = set()
        self._route = router.route(question)

    def choose(self) -> Candidate | None:
        """Who should be tried next: in the highest tier where one has room. None: those left are full."""
        for tier in self._left():
            chosen = self._router.strategy.choose(tier, self.prefix)
            if chosen is not None:
                return chosen
        return None

    def tried(self, candidate: Candidate) -> None:
        self._tried.add(candidate.target.id)

    def candidates(self) -> Iterator[Candidate]:
        """All that were not tried, highest tier first."""
        return (each for tier in self._left() for each in tier.candidates)

    @property
    def exhausted(self) -> bool:
        return bool(self._tried) and not any(self.candidates())

    def own(self, candidate: Candidate) -> Candidate | None:
        """This plan's view of an endpoint, None when it is no candidate or was tried."""
        number = candidate.target.id
        if number in self._tried:
            return None
        return next((tier.by_id[number] for tier in self._route if number in tier.by_id), None)

    def renew(self) -> None:
        """Go by the newest routing table. Raises ApiError when it has no candidate any more."""
        self._route = self._router.route(self.question)

    def prefix(self) -> tuple[int, ...]:
        if self._keys is None:
            prompt = self._prompt
            self._keys = () if prompt is None else keys_of(prompt, self.question.model or "")
        return self._keys

    def decision(self, candidate: Candidate) -> tuple[str, str, str]:
        """How it came to this candidate: strategy, decision and reason, for the answer's headers."""
        if candidate.model is None:
            return STRICT, "routed", "model_found"
        if candidate.model == snapshot().aliases.get(self.question.model or "", (None,))[0]:
            return ALIAS, "routed", "model_found"
        return ALIAS, "fallback", "preferred_model_unavailable"

    def _left(self) -> Route:
        if not self._tried:
            return self._route
        left = (
            [each for each in tier.candidates if each.target.id not in self._tried] for tier in self._route
        )
        return tuple(Tier(candidates) for candidates in left if candidates)


class Router:
    """Finds routes in the newest snapshot."""

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy
        self.loads = Loads()
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

    def _found(self, now: Snapshot, question: Question) -> Route:
        model = question.model
        aliased = now.aliases.get(model, ()) if model is not None else ()
        present = [target for target in now.targets if within_reach(target, question)]
        tiers: list[Tier] = []
        for name in aliased or (model,):
            targets = [target for target in present if target.routable and serves(target, name)]
            tiers += self._tiers_of(targets, name if aliased else None)
        if tiers:
            return tuple(tiers)
        serving = [target for target in present if any(serves(target, name) for name in aliased or (model,))]
        raise _refusal(question, present, serving, ALIAS if aliased else STRICT)

    def _tiers_of(self, targets: Iterable[Target], model: str | None) -> Route:
        """Grouped by priority, highest first. The snapshot has them in this order."""
        turn = next(self._first_turns)  # so that a table that changes often does not favour its first
        return tuple(
            Tier([Candidate(target, self.loads.of(target.id), model) for target in tier], turn)
            for _, tier in groupby(targets, key=lambda target: target.priority)
        )


def within_reach(target: Target, question: Question) -> bool:
    """Whether the way in, and the caller's key, lead to an endpoint at all."""
    endpoints = question.endpoints
    return question.surface.admits(target.type) and (endpoints is None or endpoints.admit(target.name))


def serves(target: Target, model: str | None) -> bool:
    return model is None or model in target.model_names


def states(targets: Iterable[Target]) -> list[str]:
    return [state_of(target) for target in targets]


def state_of(target: Target) -> str:
    """Why an endpoint does not serve, in a few words."""
    if target.mode != Mode.ACTIVE:
        return f"{target.name} is {target.mode.value}"
    word = target.status.label.lower()
    return f"{target.name} is {word} ({target.reason})" if target.reason else f"{target.name} is {word}"


def _refusal(
    question: Question, present: Sequence[Target], serving: Sequence[Target], strategy: str
) -> ApiError:
    surface, model = question.surface, question.model
    if model is None or not present:
        return errors.no_healthy_endpoint(surface.label, states(present))
    if serving:
        refusal = errors.model_unavailable(model, states(serving))
        return _with_routing(refusal, strategy, "model_unavailable")
    # An endpoint that was never well has told us nothing about its models: it may be the one.
    silent = [target for target in present if not target.models]
    if silent and not any(target.routable for target in present):
        return errors.no_healthy_endpoint(surface.label, states(present))
    known = sorted({name for target in present if target.routable for name in target.model_names})
    return _with_routing(errors.model_not_found(model, known), strategy, "model_not_found")


def _with_routing(refusal: ApiError, strategy: str, reason: str) -> ApiError:
    refusal.headers.update(
        {
            "X-Olla-Routing-Strategy": strategy,
            "X-Olla-Routing-Decision": "rejected",
            "X-Olla-Routing-Reason": reason,
        }
    )
    return refusal
