"""What the page of a request says of it in words: what came of it, how it was routed, what limited it."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ollaproject.wire import numbers
from proxy.models import FIRST_REFUSED_STATUS, Came
from proxy.routing.failover import BROKEN_OFF

if TYPE_CHECKING:
    from proxy.models import RequestRecord

STRATEGIES: Final = {
    "strict": _("Only endpoints that serve the model may answer"),
    "optimistic": _("Endpoints that serve the model come first, others may stand in"),
    "discovery": _("The endpoints are asked anew when nobody serves the model"),
    "alias": _("The name is an alias"),
}
REASONS: Final = {
    "model_found": _("an endpoint that serves it was free to take it"),
    "model_not_found": _("no endpoint serves it"),
    "model_unavailable": _("its endpoints could not serve it then"),
    "model_unavailable_fallback": _("its endpoints could not serve it then, so another one stood in"),
    "model_not_found_fallback": _("nobody serves it, so another endpoint stood in"),
    "all_healthy_fallback": _("any healthy endpoint was to take it"),
    "preferred_model_unavailable": _("the first model behind it could not be served, so the next one was"),
}
# A shorter wait is no limit worth a word.
SHOWN_WAIT_MS: Final = 100
# Errors by which something else than the rules of routing has stopped a request.
STOPPED_BY: Final = {
    "overloaded": _("Every endpoint was full, and the queue was full too or took too long."),
    "max_tokens_too_large": _("It asked for a longer answer than its key allows."),
    "model_not_allowed": _("Its key may not use this model."),
    "request_too_large": _("It was larger than OLLA_MAX_BODY_SIZE."),
    "context_length_exceeded": _("It was longer than any endpoint's context."),
    "upstream_timeout": _("No first byte came in time."),
    "upstream_idle_timeout": _("The endpoint fell silent for longer than its idle timeout."),
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
    if not row.outcome:
        return ""
    return _SENTENCES[Came(row.outcome)](row)


def _answered(row: RequestRecord) -> str:
    failed = [step.endpoint for step in steps(row) if step.reason]
    words = gettext("{who} answered after {failed} had failed.") if failed else gettext("{who} answered.")
    return words.format(
        who=row.endpoint or gettext("The gateway itself"), failed=gettext(" and ").join(failed)
    )


def _left(_row: RequestRecord) -> str:
    return gettext("The client left before the end.")


def _refused(row: RequestRecord) -> str:
    words = (
        gettext("It was refused with {status} by {endpoint}.")
        if row.endpoint
        else gettext("It was refused with {status}.")
    )
    return words.format(status=row.status, endpoint=row.endpoint)


def _failed(row: RequestRecord) -> str:
    if row.status == HTTPStatus.OK:
        return gettext("The answer was cut.")
    if row.endpoint and not row.error_code:  # else the error is the gateway's own
        words = gettext("{endpoint} answered with an error, {status}.")
        return words.format(endpoint=row.endpoint, status=row.status)
    return gettext("No endpoint answered it.")


_SENTENCES: Final = {Came.OK: _answered, Came.LEFT: _left, Came.REFUSED: _refused, Came.FAILED: _failed}


def decision(row: RequestRecord) -> str:
    """How it was routed, as a sentence; empty where no model was named."""
    parts = row.routing.split(" ", 2)
    if len(parts) < len(("strategy", "decision", "reason")):
        return ""
    strategy, _decision, reason = parts
    return f"{STRATEGIES.get(strategy, strategy)}; {REASONS.get(reason, reason.replace('_', ' '))}."


def what_limited(row: RequestRecord) -> str:
    """The limit, the queue or the rule that stopped it, as a sentence; empty when none did."""
    if row.limited_by:
        return f"{row.limited_by}."
    if stopped := STOPPED_BY.get(row.error_code):
        return str(stopped)
    waited = sum(step.waited_ms or 0 for step in steps(row))
    if waited < SHOWN_WAIT_MS:
        return ""
    return gettext("It waited {seconds} s for a place.").format(seconds=numbers.decimal(waited / 1000, 1))
