"""A route: the candidates for a question in tiers, and what is left of them for a request's needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from endpoints.known_models.abilities import UNKNOWN, Abilities, Fit
from endpoints.routing.selection import Tier
from proxy import errors
from proxy.request import needs
from proxy.request.needs import NO_SIZE, Size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from endpoints.routing.selection import Candidate, Strategy
    from proxy.request.prefix import Prompt

    Condition = Callable[[Candidate], bool]

# Needs are few, but a client makes them up.
MAX_NARROWED = 64


@dataclass(slots=True, eq=False)
class Route:
    """`decision` is the strategy of model routing, what it decided, and why. `preferred` is the model that an
    alias prefers.
    """

    tiers: tuple[Tier, ...]
    strategy: Strategy
    decision: tuple[str, str, str]
    preferred: str | None = None
    # Whether there is more than one candidate, whether their abilities differ, and the least context of any,
    # in tokens.
    has_choice: bool = field(init=False)
    choosy: bool = field(init=False)
    shortest: int | None = field(init=False)
    _narrowed: dict[tuple[frozenset[str], int | None, int | None], Route] = field(
        init=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        self.has_choice = sum(len(tier.candidates) for tier in self.tiers) > 1
        self.choosy = len({abilities(each) for each in self.candidates()}) > 1
        self.shortest = min(self._contexts(), default=None)

    def candidates(self) -> Iterator[Candidate]:
        """Highest tier first."""
        return (each for tier in self.tiers for each in tier.candidates)

    def for_needs(self, prompt: Prompt | None, purpose: str, model: str | None) -> Route:
        """What is left for this prompt. Raises ApiError 400 when no candidate's context can hold it."""
        length = needs.length_of(prompt, purpose) if self.shortest is not None else 0
        long = self.shortest is not None and length > self.shortest * needs.BYTES_PER_TOKEN
        if not (self.choosy or long):
            return self
        size = needs.size_of(prompt, length) if long and prompt is not None else NO_SIZE
        wanted = needs.abilities_needed(prompt, purpose) if self.choosy else frozenset()
        contexts = sorted(self._contexts())
        key = (wanted, _next(contexts, size.about), _next(contexts, size.at_least))
        found = self._narrowed.get(key)
        if found is None:
            found = self._without_misfits(wanted, size, model)
            if len(self._narrowed) < MAX_NARROWED:
                self._narrowed[key] = found
        return found

    def _without_misfits(self, wanted: frozenset[str], size: Size, model: str | None) -> Route:
        best = max((abilities(each).fit(wanted) for each in self.candidates()), default=Fit.MAY)
        able = self.only(lambda each: abilities(each).fit(wanted) == best)
        roomy = able.only(lambda each: holds(each, size.about))
        if roomy.tiers:
            return roomy
        # It may be shorter than it looks: then the server says what it thinks of it.
        roomy = able.only(lambda each: holds(each, size.at_least))
        if roomy.tiers:
            return roomy
        raise errors.context_length_exceeded(model, max(self._contexts()), size.about, size.at_least)

    def only(self, condition: Condition) -> Route:
        """The same with those candidates alone; itself when that is all of them."""
        kept = [[each for each in tier.candidates if condition(each)] for tier in self.tiers]
        if sum(map(len, kept)) == sum(len(tier.candidates) for tier in self.tiers):
            return self
        tiers = tuple(Tier(candidates) for candidates in kept if candidates)
        return Route(tiers, self.strategy, self.decision, self.preferred)

    def _contexts(self) -> set[int]:
        found = {each.served.max_model_len for each in self.candidates() if each.served is not None}
        return {context for context in found if context is not None}


def abilities(candidate: Candidate) -> Abilities:
    return candidate.served.abilities if candidate.served is not None else UNKNOWN


def holds(candidate: Candidate, tokens: int) -> bool:
    """Whether its context is long enough, as far as is known."""
    context = candidate.served.max_model_len if candidate.served is not None else None
    return context is None or tokens <= context


def _next(contexts: list[int], tokens: int) -> int | None:
    """The least context that holds so many tokens: what the choice depends on."""
    return next((context for context in contexts if tokens <= context), None)
