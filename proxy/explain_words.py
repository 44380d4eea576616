"""An explanation in sentences, one for each step. The command and the model's page show the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.conf import settings

from proxy.routing import DISCOVERY, OPTIMISTIC, STRICT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.explain import Explanation, SessionStep

NEEDS: Final = {"tools": "tools", "vision": "images"}
STRATEGIES: Final = {
    "cache-aware": "who has its prompt's beginning in memory, unless that one is too busy",
    "priority": "in turns, by the endpoints' weights",
    "round-robin": "one after another",
    "least-connections": "who has the fewest requests under way",
    "least-latency": "the better of two by requests under way and time to the first token",
}
MODES: Final = {
    STRICT: "only endpoints that serve the model may answer",
    OPTIMISTIC: "when nobody who serves the model can answer, others are asked for it",
    DISCOVERY: "the endpoints are asked for their models anew before a model that nobody serves is refused",
}
FALLBACKS: Final = {
    "compatible_only": "those that may be able to do the same",
    "all": "any that is well",
    "none": "but none, for OLLA_ROUTING_FALLBACK is none",
}


def sentences(found: Explanation) -> list[str]:
    """What happens, in order: the request, its name, who may answer, its session, who is asked."""
    return list(_steps(found))


def _steps(found: Explanation) -> Iterator[str]:
    yield _request(found)
    if found["alias"]:
        yield f"{found['model']} is an alias: {', else '.join(found['alias'])}."
    yield _mode(found)
    able = sum(step["candidate"] for step in found["endpoints"])
    yield f"{able} of {len(found['endpoints'])} endpoints may answer it now."
    if found["session"] is not None:
        yield _session(found["session"])
    if found["refusal"]:
        yield f"It is refused with {found['refusal']['status']}: {found['refusal']['message']}"
        return
    yield from _order(found)


def _request(found: Explanation) -> str:
    what = f"A request for {found['model'] or 'no model'}"
    needs = [NEEDS[word] for word in found["needs"]]
    needs += [f"a prompt of about {found['tokens']:,} tokens"] if found["tokens"] else []
    needed = f" with {' and '.join(needs)}" if needs else ""
    return f"{what}{needed} by the way in for {found['surface']} endpoints."


def _mode(found: Explanation) -> str:
    mode = found["mode"]
    more = f": {FALLBACKS[settings.OLLA_ROUTING_FALLBACK]}" if mode == OPTIMISTIC else ""
    return f"OLLA_ROUTING_STRATEGY is {mode}: {MODES[mode]}{more}."


def _session(session: SessionStep) -> str:
    who = f"The session {session['id']}"
    if session["endpoint"] is None:
        return f"{who} has no place yet: it stays with whoever answers first."
    if session["stays"]:
        return f"{who} is at {session['endpoint']}, which is asked first while it has room."
    return f"{who} is at {session['endpoint']}, which may not answer now: it moves to whoever does."


def _order(found: Explanation) -> Iterator[str]:
    strategy = found["strategy"]
    whose = "the alias's own load balancer" if found["strategy_of_alias"] else "OLLA_LOAD_BALANCER"
    yield (
        f"Higher priorities go first. Within a priority {strategy} decides ({whose}): {STRATEGIES[strategy]}."
    )
    asked = [
        f"{each['endpoint']} as {each['model']}" if found["alias"] else each["endpoint"]
        for each in found["order"]
    ]
    yield f"On an idle gateway it goes to {', then to '.join(asked)}."
    if found["decision"]:
        strategy, decision, reason = found["decision"]
        yield f"The answer's headers say: strategy {strategy}, decision {decision}, reason {reason}."
    yield (
        f"When all of them are full it waits for up to {settings.OLLA_QUEUE_TIMEOUT} s, "
        f"with at most {settings.OLLA_QUEUE_SIZE} others."
    )
