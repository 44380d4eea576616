"""The pages of local models: all of them, one with its log and its past, and the buttons of both."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render, resolve_url
from django.utils.cache import patch_cache_control
from django.views.decorators.http import require_http_methods, require_safe

from inference.local import buttons, cards, hosts, log_view, record
from inference.models import LocalModel, LocalModelEvent
from ollaproject.wire import roles
from ollaproject.wire.roles import needs

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest

    from ollaproject.wire.roles import Person

EVENTS_SHOWN = 12
# What a place that shows one model fetches again.
PARTS = {"model": "inference/_local_model.html", "admin": "inference/_admin_panel.html"}


def may_act(user: Person) -> bool:
    """Whether this person may press the buttons."""
    return user.has_perm(roles.CHANGE_LOCAL_MODELS)


# --- The pages, and what of them changes


@require_safe
@needs(roles.sees_local_models)
def page(request: HttpRequest) -> HttpResponse:
    return _whole(request, "inference/local_models.html", all_of_them(request))


@require_safe
@needs(roles.sees_local_models)
def one(request: HttpRequest, model_id: int) -> HttpResponse:
    return _whole(request, "inference/local_model.html", one_of_them(request, model_id))


@require_safe
def fragment(request: HttpRequest) -> HttpResponse:
    return _part(request, "inference/_local_models.html", lambda: all_of_them(request))


@require_safe
def one_fragment(request: HttpRequest, model_id: int) -> HttpResponse:
    return _part(
        request, PARTS.get(_came_from(request), PARTS["model"]), lambda: one_of_them(request, model_id)
    )


def all_of_them(request: HttpRequest) -> dict[str, Any]:
    machines = hosts.alive()
    found = cards.all_cards(machines)
    return {
        "cards": found,
        "machines": machines,
        "summary": cards.summary(found) if found else "",
        "may_act": may_act(request.user),
        "may_add": roles.enters_admin(request.user) and request.user.has_perm("inference.add_localmodel"),
    }


def one_of_them(request: HttpRequest, model_id: int) -> dict[str, Any]:
    model = get_object_or_404(LocalModel.objects.select_related("status"), pk=model_id)
    status = record.status_of(model)
    return {
        "card": cards.card_of(model, status, hosts.alive()),
        "status": status,
        "model": model,
        "log": log_view.of(status),
        "events": LocalModelEvent.objects.filter(model=model)[:EVENTS_SHOWN],
        "may_act": may_act(request.user),
        "may_edit": roles.enters_admin(request.user),
    }


def _whole(request: HttpRequest, template: str, content: dict[str, Any]) -> HttpResponse:
    response = render(request, template, content)
    patch_cache_control(response, private=True, no_store=True)
    return response


def _part(request: HttpRequest, template: str, content: Callable[[], dict[str, Any]]) -> HttpResponse:
    """The part that is fetched at every change. Whoever was signed out meanwhile is sent to sign in."""
    if not request.user.is_authenticated:
        return sign_in_first()
    if not roles.sees_local_models(request.user):
        raise PermissionDenied
    response = render(request, template, content())
    patch_cache_control(response, private=True, no_store=True)
    return response


def sign_in_first() -> HttpResponse:
    target = f"{resolve_url('login')}?next={resolve_url('local-models')}"
    return HttpResponse(status=401, headers={"HX-Redirect": target})


# --- The buttons


@require_http_methods(["GET", "POST"])
def act(request: HttpRequest, model_id: int, action: str) -> HttpResponse:
    """Do what a button says (POST), or ask before it (GET), as browsers without JavaScript need it."""
    if not request.user.is_authenticated:
        return sign_in_first() if request.headers.get("HX-Request") else redirect(resolve_url("login"))
    if not (roles.sees_local_models(request.user) and may_act(request.user)):
        raise PermissionDenied
    if action not in buttons.BUTTONS:
        raise Http404
    model = get_object_or_404(LocalModel.objects.select_related("status"), pk=model_id)
    if request.method == "GET":
        return _ask(request, model, action)
    said = buttons.press(action, [(model, record.status_of(model))])
    return _pressed(request, model, said)


def _ask(request: HttpRequest, model: LocalModel, action: str) -> HttpResponse:
    button = buttons.BUTTONS[action]
    question = button.asks(model, record.status_of(model)) or f"{button.label} {model.name}?"
    content = {"model": model, "action": action, "button": button, "question": question}
    return render(request, "inference/local_model_ask.html", content | {"came_from": _came_from(request)})


def _pressed(request: HttpRequest, model: LocalModel, said: str) -> HttpResponse:
    """For a live page what it shows now, with what was done beside it; for any other the way back."""
    came_from = _came_from(request)
    if not request.headers.get("HX-Request"):
        messages.success(request, said)
        return redirect(_way_back(came_from, model))
    if came_from == "page":
        response = render(request, "inference/_local_models.html", all_of_them(request))
    else:
        content = one_of_them(request, model.pk)
        response = render(request, PARTS[came_from], content)
    response["HX-Trigger"] = json.dumps({"olla:said": {"text": said}})
    return response


def _came_from(request: HttpRequest) -> str:
    """Which of the places that have the buttons was it: `page`, `model` or `admin`."""
    given = request.GET.get("from", "")
    return given if given in PARTS else "page"


def _way_back(came_from: str, model: LocalModel) -> str:
    if came_from == "admin":
        return resolve_url("admin:inference_localmodel_change", model.pk)
    return resolve_url("local-model", model.pk) if came_from == "model" else resolve_url("local-models")
