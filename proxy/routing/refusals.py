"""Why routing refuses a request, in the contract's words and with the state of each endpoint."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from django.utils.translation import gettext

from endpoints.choices import Mode
from endpoints.pages.overview import SET_ASIDE_WORDS
from ollaproject.wire import clock
from proxy import errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from endpoints.routing.snapshot import Target
    from ollaproject.wire.openai_errors import ApiError
    from proxy.routing.routing import Question

LONGEST_RETRY_AFTER_SECONDS: Final = 3600


def refusal(
    question: Question, present: Sequence[Target], serving: Sequence[Target], strategy: str
) -> ApiError:
    """`present` are the endpoints of the surface, `serving` those that have the model. None is routable."""
    surface, model = question.surface, question.model
    if model is None or not present:
        return errors.no_healthy_endpoint(surface.label, states(present), again_in(present))
    if serving:
        refused = errors.model_unavailable(model, states(serving), again_in(serving))
        return with_routing(refused, strategy, "model_unavailable")
    # An endpoint that was never well has told us nothing about its models: it may be the one.
    silent = [target for target in present if not target.models]
    if silent and not any(target.routable for target in present):
        return errors.no_healthy_endpoint(surface.label, states(present), again_in(present))
    known = sorted({name for target in present if target.routable for name in target.model_names})
    return with_routing(errors.model_not_found(model, known), strategy, "model_not_found")


def again_in(targets: Iterable[Target]) -> int:
    """Seconds until one of them may be found well: the next check that is planned, as far as it is known."""
    now = clock.now()
    waits = [target.next_check_in(now) for target in targets if target.mode == Mode.ACTIVE]
    known = [wait for wait in waits if wait is not None]
    if not known:
        return errors.RETRY_AFTER_SECONDS
    return min(max(1, math.ceil(min(known))), LONGEST_RETRY_AFTER_SECONDS)


def states(targets: Iterable[Target]) -> list[str]:
    return [state_of(target) for target in targets]


def state_of(target: Target) -> str:
    """Why an endpoint does not serve, in a few words of the active language, which is English for clients."""
    if target.mode != Mode.ACTIVE:
        alone, _several = SET_ASIDE_WORDS[target.mode]
        return alone.format(who=target.name)
    status = str(target.status.label).lower()
    said = gettext("{name} is {status}").format(name=target.name, status=status)
    return f"{said} ({target.reason})" if target.reason else said


def with_routing(refused: ApiError, strategy: str, reason: str) -> ApiError:
    refused.headers.update(
        {
            "X-Olla-Routing-Strategy": strategy,
            "X-Olla-Routing-Decision": "rejected",
            "X-Olla-Routing-Reason": reason,
        }
    )
    return refused
