"""Making, rotating and revoking keys on the page of usage: by their owner, or the lead of their team."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.cache import add_never_cache_headers
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.views.decorators.http import require_POST

from ollaproject.wire import clock, roles
from proxy.access import keys, own_keys
from proxy.models import ApiKey
from proxy.reports.usage_pages import LIFETIMES

if TYPE_CHECKING:
    from django.http import HttpRequest

    from proxy.access.keys import Issued


@require_POST
@roles.needs(roles.has_own_keys)
def make(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    team = roles.teams_of(user).filter(pk=_number(request.POST.get("team", ""))).first()
    try:
        issued = own_keys.create(user, team=team, **asked(request))
    except ValidationError as error:
        return refused(request, error, "/usage/")
    return show_once(request, issued)


@require_POST
@roles.needs(roles.manages_team_keys)
def make_for_member(request: HttpRequest, team_id: int) -> HttpResponse:
    """A lead makes a key for somebody of their team, and sees its secret once. Other teams: 404."""
    user: Any = request.user
    team = get_object_or_404(roles.managed_by(user), pk=team_id)
    member = roles.members_of(team).filter(pk=_number(request.POST.get("member", ""))).first()
    try:
        if member is None:
            raise ValidationError(
                gettext("Choose somebody who is in the team {name}.").format(name=team.name)
            )
        issued = own_keys.create_for(member, lead=user, team=team, **asked(request))
    except ValidationError as error:
        return refused(request, error, f"/usage/?of={team.pk}")
    return show_once(request, issued)


@require_POST
@login_required
def rotate(request: HttpRequest, key_id: int) -> HttpResponse:
    key = found(request, key_id)
    grace = request.POST.get("grace", "")
    if grace not in keys.GRACES or key.revoked_at is not None:
        return HttpResponse(gettext("Choose how long the old secret goes on working."), status=400)
    user: Any = request.user
    return show_once(request, own_keys.rotate(user, key, grace=timedelta(hours=int(grace))))


@require_POST
@login_required
def revoke(request: HttpRequest, key_id: int) -> HttpResponse:
    key = found(request, key_id)
    user: Any = request.user
    if own_keys.revoke(user, key):
        messages.success(request, gettext("Revoked {name}. It stops within a second.").format(name=key.name))
    else:
        messages.info(request, gettext("{name} was revoked already.").format(name=key.name))
    return redirect(back(request, key))


def asked(request: HttpRequest) -> dict[str, Any]:
    """What the form of a new key says of it."""
    days = request.POST.get("lifetime", "")
    return {
        "name": request.POST.get("name", "").strip(),
        "expires_at": clock.now() + timedelta(days=int(days)) if days and days in LIFETIMES else None,
        "models": request.POST.get("models", "").split(),
    }


def refused(request: HttpRequest, error: ValidationError, page: str) -> HttpResponse:
    for sentence in sentences(error):
        messages.error(request, sentence)
    return redirect(page)


def found(request: HttpRequest, key_id: int) -> ApiKey:
    """A key that this person manages. Whose it is otherwise is not told: 404."""
    user: Any = request.user
    return get_object_or_404(own_keys.manageable(user), pk=key_id)


def back(request: HttpRequest, key: ApiKey) -> str:
    """The page that a key was managed on."""
    of_team = key.team_id is not None and key.owner_id != request.user.pk
    return f"/usage/?of={key.team_id}" if of_team else "/usage/"


def show_once(request: HttpRequest, issued: Issued) -> HttpResponse:
    """The one page that has the secret. It is in no other, and in no cache."""
    context = {
        "key": issued.key,
        "plain": issued.plain,
        "origin": f"{request.scheme}://{request.get_host()}",
        "back": back(request, issued.key),
    }
    response = render(request, "proxy/key_secret.html", context)
    add_never_cache_headers(response)
    return response


def sentences(error: ValidationError) -> list[str]:
    """Each with the name of its field before it, if it has one that a person may fill in."""
    if not hasattr(error, "error_dict"):
        return error.messages
    names = {field.name: capfirst(field.verbose_name) for field in ApiKey._meta.fields if field.editable}
    return [
        f"{names[field]}: {sentence}" if field in names else sentence
        for field, said in error.message_dict.items()
        for sentence in said
    ]


def _number(text: str) -> int:
    """An id; 0, which nothing has, for what is none."""
    return int(text) if text.isdecimal() and len(text) < len("1000000000") else 0
