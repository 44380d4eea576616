"""Says step by step where a request would go, by the very rules that place it.

What only a running web process knows is not part of it: how busy each endpoint is, where prompts are warm,
and which endpoints it doubts since a request broke there. The order is that of an idle gateway.

Reasons are in the reader's language; what endpoints and refusals say stays as clients get it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec
from django.conf import settings
from django.utils.translation import gettext, override

from endpoints.known_models.abilities import CHAT, TOOLS, VISION
from endpoints.routing.snapshot import snapshot
from endpoints.routing.strategies import STRATEGIES
from ollaproject.wire import numbers
from ollaproject.wire.openai_errors import ApiError
from proxy.request import needs
from proxy.request.prefix import Prompt
from proxy.routing.plan import Plan
from proxy.routing.refusals import state_of
from proxy.routing.route import abilities, holds
from proxy.routing.routing import Question, Router, alias_for, serves

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from endpoints.routing.selection import Candidate
    from endpoints.routing.snapshot import Target
    from proxy.request.paths import Surface
    from proxy.routing.sticky import Session

NOTHING = msgspec.Raw()
A_TOOL = msgspec.Raw(b'[{"type": "function"}]')
AN_IMAGE = msgspec.Raw(b'[{"type": "image_url"}]')


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


class SessionStep(TypedDict):
    """What is known of the request's session. `endpoint` is where it is, None when it has no place yet.

    `stays` says whether its requests go there now.
    """

    id: str
    source: str
    endpoint: str | None
    stays: bool


class Explanation(TypedDict):
    """`alias` holds the models behind the name, empty when it is none; `strategy` is the load balancer, and
    `defaults` and `overrides` are the parameters that the alias adds.

    `mode` is OLLA_ROUTING_STRATEGY, `decision` what the answer's X-Olla-Routing headers say. `refusal`: None
    when routed.
    """

    model: str | None
    surface: str
    alias: list[str]
    strategy: str
    strategy_of_alias: bool
    defaults: Mapping[str, Any]
    overrides: Mapping[str, Any]
    mode: str
    needs: list[str]
    tokens: int
    session: SessionStep | None
    endpoints: list[EndpointStep]
    order: list[OrderStep]
    decision: list[str]
    refusal: Refusal | None


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked: about so many `tokens` of prompt, 0 for a short one. Tools and images make it a chat."""

    surface: Surface
    model: str | None
    tools: bool = False
    images: bool = False
    tokens: int = 0

    @property
    def question(self) -> Question:
        chats = self.tools or self.images or self.tokens > 0
        return Question(self.surface, self.model, purpose=CHAT if chats else "")

    @property
    def prompt(self) -> Prompt:
        """One that shows the needs, as a client would write it."""
        text = b'"' + b"x" * (self.tokens * needs.BYTES_PER_TOKEN - 2) + b'"' if self.tokens else b""
        messages = AN_IMAGE if self.images else msgspec.Raw(text)
        return Prompt(tools=A_TOOL if self.tools else NOTHING, messages=messages)

    @property
    def needs(self) -> list[str]:
        return [word for word, wanted in ((TOOLS, self.tools), (VISION, self.images)) if wanted]


def router_from_settings() -> Router:
    """The rules by which this gateway routes, without what only its own requests have taught it."""
    return Router(
        STRATEGIES[settings.OLLA_LOAD_BALANCER](),
        mode=settings.OLLA_ROUTING_STRATEGY,
        fallback=settings.OLLA_ROUTING_FALLBACK,
    )


def explain(router: Router, asked: Request, *, session: Session | None = None, said: str = "") -> Explanation:
    """What would happen now to a request. `said` is how its session was named, empty without one."""
    alias = alias_for(snapshot(), asked.question)
    names = alias.models if alias else ()
    own = alias is not None and alias.strategy in STRATEGIES
    left_out: dict[int, str] = {}
    order: list[OrderStep] = []
    decision: list[str] = []
    refusal: Refusal | None = None
    try:
        with override("en"):  # a refusal is in the words that clients get
            plan = Plan(router, asked.question, asked.prompt, session=session)
        left_out = _left_out(router, asked, plan)
        order, decision = _order(plan)
    except ApiError as error:
        refusal = {"status": error.status, "code": error.code, "message": error.message}
    return {
        "model": asked.model,
        "surface": asked.surface.label,
        "alias": list(names),
        "strategy": alias.strategy if own and alias else settings.OLLA_LOAD_BALANCER,
        "strategy_of_alias": own,
        "defaults": alias.defaults if alias else {},
        "overrides": alias.overrides if alias else {},
        "mode": router.mode,
        "needs": asked.needs,
        "tokens": asked.tokens,
        "session": _session_step(session, said, order),
        "endpoints": [
            _step(target, asked.surface, names or (asked.model,), left_out.get(target.id, ""))
            for target in snapshot().targets
        ],
        "order": order,
        "decision": decision,
        "refusal": refusal,
    }


def _order(plan: Plan) -> tuple[list[OrderStep], list[str]]:
    order: list[OrderStep] = []
    decision: list[str] = []
    while not plan.exhausted and (candidate := plan.choose()) is not None:
        plan.pass_over(candidate)
        decision = decision or list(plan.decision(candidate))
        target, named = candidate.target, candidate.model or plan.question.model
        order.append({"endpoint": target.name, "priority": target.priority, "model": named})
    return order, decision


def _left_out(router: Router, asked: Request, plan: Plan) -> dict[int, str]:
    """Why endpoints that serve the model are not right for this request, by their ids."""
    kept = {each.target.id for each in plan.candidates()}
    return {
        each.target.id: _misfit(each, asked)
        for each in router.route(asked.question).candidates()
        if each.target.id not in kept
    }


def _misfit(candidate: Candidate, asked: Request) -> str:
    served = candidate.served
    if served is not None and served.max_model_len is not None and not holds(candidate, asked.tokens):
        words = gettext("a prompt of about {tokens} tokens does not fit into its {context}")
        return words.format(tokens=numbers.whole(asked.tokens), context=numbers.whole(served.max_model_len))
    cannot = [word for word in (CHAT, *asked.needs) if word in abilities(candidate).cannot]
    if cannot:
        return gettext("its model cannot do {needs}").format(needs=gettext(" and ").join(cannot))
    words = gettext("others are known to do {needs}, of its model that is not known")
    return words.format(needs=gettext(" and ").join(asked.needs or [CHAT]))


def _session_step(session: Session | None, said: str, order: Sequence[OrderStep]) -> SessionStep | None:
    if session is None:
        return None
    place = next((each.name for each in snapshot().targets if each.id == session.pinned), None)
    stays = place is not None and bool(order) and order[0]["endpoint"] == place
    return {"id": said, "source": session.source, "endpoint": place, "stays": stays}


def _step(target: Target, surface: Surface, names: Sequence[str | None], misfit: str) -> EndpointStep:
    reason = _why_not(target, surface, names) or misfit
    return {
        "name": target.name,
        "type": target.type,
        "priority": target.priority,
        "weight": target.weight,
        "max_concurrent": target.max_concurrent,
        "candidate": not reason,
        "reason": reason or _why(target, names),
    }


def _why_not(target: Target, surface: Surface, names: Sequence[str | None]) -> str:
    if not surface.admits(target.type):
        return gettext("it is a {type} endpoint, which this way in does not reach").format(type=target.type)
    if not any(serves(target, name) for name in names):
        return gettext("it does not serve the model") if target.models else gettext("no model of it is known")
    return "" if target.routable else state_of(target)


def _why(target: Target, names: Sequence[str | None]) -> str:
    served = [name for name in names if name is not None and serves(target, name)]
    if not served:
        return gettext("it is healthy")
    return gettext("it is healthy and serves {models}").format(models=", ".join(served))
