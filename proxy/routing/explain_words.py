"""An explanation in sentences, one for each step. The command and the model's page show the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.conf import settings
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from endpoints.aliases.alias_parameters import as_json
from ollaproject.wire import numbers
from proxy.routing.routing import DISCOVERY, OPTIMISTIC, STRICT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.routing.explain import Explanation, SessionStep

NEEDS: Final = {"tools": _("tools"), "vision": _("images")}
STRATEGIES: Final = {
    "cache-aware": _("who has its prompt's beginning in memory, unless that one is too busy"),
    "priority": _("in turns, by the endpoints' weights"),
    "round-robin": _("one after another"),
    "least-connections": _("who has the fewest requests under way"),
    "least-latency": _("the better of two by requests under way and time to the first token"),
}
MODES: Final = {
    STRICT: _("only endpoints that serve the model may answer"),
    OPTIMISTIC: _("when nobody who serves the model can answer, others are asked for it"),
    DISCOVERY: _(
        "the endpoints are asked for their models anew before a model that nobody serves is refused"
    ),
}
FALLBACKS: Final = {
    "compatible_only": _("those that may be able to do the same"),
    "all": _("any that is well"),
    "none": _("but none, for OLLA_ROUTING_FALLBACK is none"),
}


def sentences(found: Explanation) -> list[str]:
    """What happens, in order: the request, its name, who may answer, its session, who is asked.

    In the reader's language, but for a refusal, which is in the words that clients get.
    """
    return list(_steps(found))


def _steps(found: Explanation) -> Iterator[str]:
    yield _request(found)
    if found["alias"]:
        models = gettext(", else ").join(found["alias"])
        yield gettext("{name} is an alias: {models}.").format(name=found["model"], models=models)
        yield from _parameters(found)
    yield _mode(found)
    yield _how_many(found)
    if found["session"] is not None:
        yield _session(found["session"])
    if refusal := found["refusal"]:
        words = gettext("It is refused with {status}: {message}")
        yield words.format(status=refusal["status"], message=refusal["message"])
        return
    yield from _order(found)


def _request(found: Explanation) -> str:
    needed = [str(NEEDS[word]) for word in found["needs"]]
    if found["tokens"]:
        needed.append(
            gettext("a prompt of about {tokens} tokens").format(tokens=numbers.whole(found["tokens"]))
        )
    words = (
        gettext("A request for {model} with {needs} by the way in for {surface} endpoints.")
        if needed
        else gettext("A request for {model} by the way in for {surface} endpoints.")
    )
    model = found["model"] or gettext("no model")
    return words.format(model=model, needs=gettext(" and ").join(needed), surface=found["surface"])


def _parameters(found: Explanation) -> Iterator[str]:
    if found["defaults"]:
        words = gettext("A request that does not say them itself gets {parameters}.")
        yield words.format(parameters=as_json(found["defaults"]))
    if found["overrides"]:
        words = gettext("Whatever a request says, it gets {parameters}.")
        yield words.format(parameters=as_json(found["overrides"]))


def _mode(found: Explanation) -> str:
    mode = found["mode"]
    more = f": {FALLBACKS[settings.OLLA_ROUTING_FALLBACK]}" if mode == OPTIMISTIC else ""
    words = gettext("OLLA_ROUTING_STRATEGY is {mode}: {meaning}.")
    return words.format(mode=mode, meaning=f"{MODES[mode]}{more}")


def _how_many(found: Explanation) -> str:
    total = len(found["endpoints"])
    words = ngettext(
        "{able} of {total} endpoint may answer it now.",
        "{able} of {total} endpoints may answer it now.",
        total,
    )
    return words.format(able=sum(step["candidate"] for step in found["endpoints"]), total=total)


def _session(session: SessionStep) -> str:
    if session["endpoint"] is None:
        words = gettext("The session {id} has no place yet: it stays with whoever answers first.")
    elif session["stays"]:
        words = gettext("The session {id} is at {endpoint}, which is asked first while it has room.")
    else:
        words = gettext(
            "The session {id} is at {endpoint}, which may not answer now: it moves to whoever does."
        )
    return words.format(id=session["id"], endpoint=session["endpoint"])


def _order(found: Explanation) -> Iterator[str]:
    strategy = found["strategy"]
    whose = gettext("the alias's own load balancer") if found["strategy_of_alias"] else "OLLA_LOAD_BALANCER"
    yield gettext(
        "Higher priorities go first. Within a priority {strategy} decides ({whose}): {meaning}."
    ).format(strategy=strategy, whose=whose, meaning=STRATEGIES[strategy])
    as_model = gettext("{endpoint} as {model}")
    asked = [as_model.format(**each) if found["alias"] else each["endpoint"] for each in found["order"]]
    yield gettext("On an idle gateway it goes to {endpoints}.").format(
        endpoints=gettext(", then to ").join(asked)
    )
    if found["decision"]:
        strategy, decision, reason = found["decision"]
        yield gettext(
            "The answer's headers say: strategy {strategy}, decision {decision}, reason {reason}."
        ).format(strategy=strategy, decision=decision, reason=reason)
    yield gettext(
        "When all of them are full it waits for up to {seconds} s, with at most {others} others."
    ).format(seconds=settings.OLLA_QUEUE_TIMEOUT, others=settings.OLLA_QUEUE_SIZE)
