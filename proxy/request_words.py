"""What the page of a request says of it in words: what came of it, how it was routed, what limited it."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from proxy.failover import BROKEN_OFF
from proxy.models import FIRST_REFUSED_STATUS, Came

if TYPE_CHECKING:
    from proxy.models import RequestRecord

STRATEGIES: Final = {
    "strict": "Only endpoints that serve the model may answer",
    "optimistic": "Endpoints that serve the model come first, others may stand in",
    "discovery": "The endpoints are asked anew when nobody serves the model",
    "alias": "The name is an alias",
}
REASONS: Final = {
    "model_found": "an endpoint that serves it was free to take it",
    "model_not_found": "no endpoint serves it",
    "model_unavailable": "its endpoints could not serve it then",
    "model_unavailable_fallback": "its endpoints could not serve it then, so another one stood in",
    "model_not_found_fallback": "nobody serves it, so another endpoint stood in",
    "all_healthy_fallback": "any healthy endpoint was to take it",
    "preferred_model_unavailable": "the first model behind it could not be served, so the next one was",
}
# A shorter wait is no limit worth a word.
SHOWN_WAIT_MS: Final = 100
# Errors by which something else than the rules of routing has stopped a request.
STOPPED_BY: Final = {
    "overloaded": "Every endpoint was full, and the queue was full too or took too long.",
    "max_tokens_too_large": "It asked for a longer answer than its key allows.",
    "model_not_allowed": "Its key may not use this model.",
    "request_too_large": "It was larger than OLLA_MAX_BODY_SIZE.",
    "context_length_exceeded": "It was longer than any endpoint's context.",
    "upstream_timeout": "No first byte came in time.",
    "upstream_idle_timeout": "The endpoint fell silent for longer than its idle timeout.",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One attempt of a request. Times in milliseconds; None in rows from before these were kept.

    `reason` says why it failed; where it is empty, `status` is what the endpoint answered.
    """

    endpoint: str
    reason: str
    waited_ms: float | None
    lasted_ms: float | None
    status: int

    @property
    def broken_off(self) -> bool:
        return self.reason == BROKEN_OFF

    @property
    def refused(self) -> bool:
        return not self.reason and self.status >= FIRST_REFUSED_STATUS


def steps(row: RequestRecord) -> list[Step]:
    found = []
    for endpoint, reason, *times in row.attempts:
        waited, lasted = times if len(times) == 2 else (None, None)  # noqa: PLR2004 - waited and lasted
        found.append(Step(endpoint, reason or "", waited, lasted, row.status))
    return found


def sentence(row: RequestRecord) -> str:
    """What came of it, in words."""
    failed = [step.endpoint for step in steps(row) if step.reason]
    after = f" after {' and '.join(failed)} had failed" if failed and row.outcome == Came.OK else ""
    words = {
        Came.OK: f"{row.endpoint or 'The gateway itself'} answered{after}.",
        Came.LEFT: "The client left before the end.",
        Came.REFUSED: f"It was refused with {row.status}{f' by {row.endpoint}' if row.endpoint else ''}.",
        Came.FAILED: _failure(row),
    }
    return words.get(Came(row.outcome), "") if row.outcome else ""


def _failure(row: RequestRecord) -> str:
    if row.status == HTTPStatus.OK:
        return "The answer was cut."
    answered = row.endpoint and not row.error_code  # else the error is the gateway's own
    return f"{row.endpoint} answered with an error, {row.status}." if answered else "No endpoint answered it."


def decision(row: RequestRecord) -> str:
    """How it was routed, as a sentence; empty where no model was named."""
    strategy, _, rest = row.routing.partition(" ")
    reason = rest.partition(" ")[2]
    if not reason:
        return ""
    return f"{STRATEGIES.get(strategy, strategy)}; {REASONS.get(reason, reason.replace('_', ' '))}."


def what_limited(row: RequestRecord) -> str:
    """The limit, the queue or the rule that stopped it, as a sentence; empty when none did."""
    if row.limited_by:
        return f"{row.limited_by}."
    if stopped := STOPPED_BY.get(row.error_code):
        return stopped
    waited = sum(step.waited_ms or 0 for step in steps(row))
    return f"It waited {waited / 1000:.1f} s for a place." if waited >= SHOWN_WAIT_MS else ""
