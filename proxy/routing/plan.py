"""One request's way through its candidates: who is tried next, and how that came about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from endpoints.routing.selection import Tier
from proxy.request.prefix import keys_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from endpoints.routing.selection import Candidate
    from proxy.request.prefix import Prompt
    from proxy.routing.route import Route
    from proxy.routing.routing import Question, Router
    from proxy.routing.sticky import Session

ALIAS = "alias"


class Plan:
    """For one request. Raises ApiError when there are no candidates, or none that its prompt fits into."""

    __slots__ = (
        "_broken",
        "_keys",
        "_prompt",
        "_route",
        "_router",
        "_session",
        "_tried",
        "question",
        "waits",
    )

    def __init__(
        self,
        router: Router,
        question: Question,
        prompt: Prompt | None = None,
        *,
        session: Session | None = None,
        waits: bool = True,
    ) -> None:
        self.question = question
        self.waits = waits  # for a place at an endpoint, when all are full
        self._router = router
        self._prompt = prompt
        self._session = session
        self._keys: tuple[int, ...] | None = None
        # Who was tried, as which model; and the endpoints that have broken, whatever they were asked for.
        self._tried: set[tuple[int, str | None]] = set()
        self._broken: set[int] = set()
        self._route = self._found()

    def choose(self) -> Candidate | None:
        """Who should be tried next: where the session is, else in the highest tier where one has room.

        None: those left are full.
        """
        pinned = self._pinned()
        if pinned is not None and pinned.has_room:
            return pinned
        strategy = self._route.strategy
        for tier in self._left():
            chosen = strategy.choose(tier, self.prefix)
            if chosen is not None:
                return chosen
        return None

    def pass_over(self, candidate: Candidate) -> None:
        """The next choice is another. The session does not hear of it."""
        self._tried.add((candidate.target.id, candidate.model))

    def broke(self, candidate: Candidate) -> None:
        """Its endpoint gave no answer: it is not asked for another model of an alias either."""
        self._broken.add(candidate.target.id)

    def tried(self, candidate: Candidate) -> int:
        """It goes there. Returns how many bytes of its prompt must be read there first, 0 if nobody asks."""
        self.pass_over(candidate)
        if self._session is not None:
            self._session.placed(candidate.target.id)
        return self._route.strategy.placed(candidate, self.prefix) if self._route.has_choice else 0

    def candidates(self) -> Iterator[Candidate]:
        """All that were not tried, highest tier first."""
        return (each for tier in self._left() for each in tier.candidates)

    @property
    def exhausted(self) -> bool:
        return bool(self._tried) and not any(self.candidates())

    def own(self, candidate: Candidate) -> Candidate | None:
        """This plan's view of an endpoint, None when it is no candidate or was tried."""
        number = candidate.target.id
        views = (tier.by_id[number] for tier in self._route.tiers if number in tier.by_id)
        return next(filter(self._is_left, views), None)

    def renew(self) -> None:
        """Go by the newest routing table. Raises ApiError when it has no candidate any more."""
        self._route = self._found()

    def prefix(self) -> tuple[int, ...]:
        if self._keys is None:
            prompt = self._prompt
            self._keys = () if prompt is None else keys_of(prompt, self.question.model or "")
        return self._keys

    def decision(self, candidate: Candidate) -> tuple[str, str, str]:
        """How it came to this candidate: strategy, decision and reason, for the answer's headers."""
        preferred = self._route.preferred
        if preferred is None or candidate.model == preferred:
            return self._route.decision
        return ALIAS, "fallback", "preferred_model_unavailable"

    def _found(self) -> Route:
        route = self._router.route(self.question)
        if route.choosy or route.shortest is not None:
            return route.for_needs(self._prompt, self.question.purpose, self.question.model)
        return route

    def _pinned(self) -> Candidate | None:
        """Where the session is, if that endpoint may answer. Tried or full, others do."""
        if self._session is None or self._tried or self._session.pinned is None:
            return None
        number = self._session.pinned
        return next((tier.by_id[number] for tier in self._route.tiers if number in tier.by_id), None)

    def _left(self) -> tuple[Tier, ...]:
        if not self._tried:
            return self._route.tiers
        left = (list(filter(self._is_left, tier.candidates)) for tier in self._route.tiers)
        return tuple(Tier(candidates) for candidates in left if candidates)

    def _is_left(self, candidate: Candidate) -> bool:
        number = candidate.target.id
        return number not in self._broken and (number, candidate.model) not in self._tried
