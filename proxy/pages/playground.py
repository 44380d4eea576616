"""The playground's page: what there is to talk to. Its requests go through proxy.pages.playground_api."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict

from django.shortcuts import render
from django.utils.cache import patch_cache_control
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_safe

from endpoints.choices import Mode
from endpoints.known_models.abilities import VISION, Fit
from endpoints.pages.overview import MODE_WORDS
from endpoints.routing.snapshot import is_pattern
from ollaproject.wire.roles import calls_models, needs
from proxy.access.key_table import models_of, person_from
from proxy.pages.playground_api import team_of
from proxy.routing.tables import current_table

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from endpoints.routing.snapshot import Snapshot, Target


IMAGES: Final = frozenset({VISION})
WORDS: Final[dict[Fit, Literal["yes", "perhaps", "no"]]] = {
    Fit.CAN: "yes",
    Fit.MAY: "perhaps",
    Fit.CANNOT: "no",
}


class Place(TypedDict):
    """An endpoint that has a model. `state` says why it cannot serve now, empty when it can."""

    name: str
    state: str


class Choice(TypedDict):
    """A name that a request may ask for. `alias` holds the models behind it, empty when it is a model.

    `images`: whether it reads images, as far as is known.
    """

    name: str
    alias: list[str]
    places: list[Place]
    images: Literal["yes", "perhaps", "no"]


@require_safe
@needs(calls_models)
@ensure_csrf_cookie
def page(request: HttpRequest) -> HttpResponse:
    """With the models that this person may use."""
    user: Any = request.user
    models = models_of((), team_of(user), person_from(user))
    found = [each for each in choices(current_table()) if models.admit(each["name"])]
    response = render(request, "proxy/playground.html", {"choices": found})
    patch_cache_control(response, private=True, no_store=True)
    return response


def choices(table: Snapshot) -> list[Choice]:
    """Every alias, then every model, by name; those that are served now before those that are not."""
    places: dict[str, list[Place]] = {}
    sight: dict[str, Fit] = {}
    for target in table.targets:
        for model in target.models:
            places.setdefault(model.name, []).append({"name": target.name, "state": state(target)})
            sight[model.name] = max(sight.get(model.name, Fit.CANNOT), model.abilities.fit(IMAGES))
    found: list[Choice] = [
        {
            "name": name,
            "alias": list(alias.models),
            "places": [place for model in alias.models for place in places.get(model, [])],
            "images": WORDS[max((sight[model] for model in alias.models if model in sight), default=Fit.MAY)],
        }
        for name, alias in table.aliases.items()
        if not is_pattern(name)
    ]
    found += [
        {"name": name, "alias": [], "places": where, "images": WORDS[sight[name]]}
        for name, where in places.items()
    ]
    return sorted(found, key=lambda each: (not served(each), not each["alias"], each["name"].casefold()))


def served(choice: Choice) -> bool:
    return any(not place["state"] for place in choice["places"])


def state(target: Target) -> str:
    if target.routable:
        return ""
    return (target.status.label if target.mode == Mode.ACTIVE else MODE_WORDS[target.mode]).lower()
