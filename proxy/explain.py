"""Says step by step where a request would go, by the very rules that place it.

What only a running web process knows is not part of it: how busy each endpoint is, where prompts are warm,
and which endpoints it doubts since a request broke there. The order is that of an idle gateway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from endpoints.snapshot import snapshot
from ollaproject.wire.openai_errors import ApiError
from proxy.plan import Plan
from proxy.refusals import state_of
from proxy.routing import Question, alias_for, serves

if TYPE_CHECKING:
    from collections.abc import Sequence

    from endpoints.snapshot import Target
    from proxy.paths import Surface
    from proxy.routing import Router


class EndpointStep(TypedDict):
    """One endpoint, and why a request may or may not go there."""

    name: str
    type: str
    priority: int
    weight: int
    max_concurrent: int
    candidate: bool
    reason: str


class OrderStep(TypedDict):
    """One attempt. `model` is the name that the endpoint is asked for."""

    endpoint: str
    priority: int
    model: str | None


class Refusal(TypedDict):
    status: int
    code: str | None
    message: str


class Explanation(TypedDict):
    """`alias` holds the models behind the name, empty when it is none. `refusal`: None when routed."""

    model: str | None
    surface: str
    alias: list[str]
    endpoints: list[EndpointStep]
    order: list[OrderStep]
    refusal: Refusal | None


def explain(router: Router, surface: Surface, model: str | None) -> Explanation:
    """What would happen now to a request for `model` on `surface`."""
    alias = alias_for(snapshot(), Question(surface, model))
    names = alias.models if alias else ()
    order: list[OrderStep] = []
    refusal: Refusal | None = None
    try:
        order = _order(Plan(router, Question(surface, model)))
    except ApiError as error:
        refusal = {"status": error.status, "code": error.code, "message": error.message}
    return {
        "model": model,
        "surface": surface.label,
        "alias": list(names),
        "endpoints": [_step(target, surface, names or (model,)) for target in snapshot().targets],
        "order": order,
        "refusal": refusal,
    }


def _order(plan: Plan) -> list[OrderStep]:
    order: list[OrderStep] = []
    while not plan.exhausted and (candidate := plan.choose()) is not None:
        plan.tried(candidate)
        target, named = candidate.target, candidate.model or plan.question.model
        order.append({"endpoint": target.name, "priority": target.priority, "model": named})
    return order


def _step(target: Target, surface: Surface, names: Sequence[str | None]) -> EndpointStep:
    reason = _why_not(target, surface, names)
    return {
        "name": target.name,
        "type": target.type,
        "priority": target.priority,
        "weight": target.weight,
        "max_concurrent": target.max_concurrent,
        "candidate": reason is None,
        "reason": reason or _why(target, names),
    }


def _why_not(target: Target, surface: Surface, names: Sequence[str | None]) -> str | None:
    if not surface.admits(target.type):
        return f"it is a {target.type} endpoint, which this way in does not reach"
    if not any(serves(target, name) for name in names):
        return "it does not serve the model" if target.models else "no model of it is known"
    return None if target.routable else state_of(target)


def _why(target: Target, names: Sequence[str | None]) -> str:
    served = [name for name in names if name is not None and serves(target, name)]
    return f"it is healthy and serves {', '.join(served)}" if served else "it is healthy"
