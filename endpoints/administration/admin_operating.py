"""The admin's actions: a page that names the endpoints, asks once more, and takes whole hosts if wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.text import format_lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from endpoints import operations
from endpoints.models import Endpoint
from endpoints.pages.buttons import BUTTONS, press
from ollaproject.wire.clock import now
from ollaproject.wire.durations import DurationError, parse_until
from ollaproject.wire.socket_urls import host_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from django.contrib.admin import AdminSite, ModelAdmin
    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

MAX_ID_DIGITS: Final = 18


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked before it is done. `said` takes the endpoints' names, or how many they are."""

    title: Any
    what: Any
    yes: Any
    said: Any


QUESTIONS: Final = {
    "drain": Question(
        title=_("Drain"),
        what=_(
            "Running requests finish. New ones go to other endpoints, or are refused when no other has the "
            "model. The checks go on."
        ),
        yes=_("Drain"),
        said=_("Draining {}: running requests finish, new ones go elsewhere."),
    ),
    "pause": Question(
        title=_("Pause"),
        what=_("No new requests and no checks, until they are put in service again."),
        yes=_("Pause"),
        said=_("Paused {}: no requests and no checks."),
    ),
    "maintain": Question(
        title=_("Maintenance"),
        what=_("No new requests and no checks until then; after it they are put in service by themselves."),
        yes=_("Begin maintenance"),
        said=_("{} in maintenance until {:%Y-%m-%d %H:%M} UTC, and then in service again."),
    ),
}


class OperationForm(forms.Form):
    """`until` is asked for where it means something, `whole_host` where others are on the same hosts."""

    until = forms.CharField(
        label=_("Until"),
        max_length=40,
        initial="2h",
        help_text=_("For how long, such as 30m or 2h, or until when: 2026-12-01T08:00 (UTC)."),
    )
    whole_host = forms.BooleanField(required=False, label=_("All endpoints of these hosts"))

    def __init__(self, *args: Any, timed: bool, others: Sequence[Endpoint], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not timed:
            del self.fields["until"]
        if others:
            self.fields["whole_host"].help_text = gettext("Also {names}.").format(
                names=", ".join(each.name for each in others)
            )
        else:
            del self.fields["whole_host"]

    def clean_until(self) -> datetime:
        try:
            return parse_until(self.cleaned_data["until"], now=now())
        except DurationError as error:
            raise forms.ValidationError(str(error)) from None


def url_of(action: str, endpoints: Sequence[Endpoint]) -> str:
    """Of the page that asks for `endpoints`."""
    ids = ",".join(str(endpoint.pk) for endpoint in endpoints)
    return f"{reverse('admin:endpoints_endpoint_operate', args=[action])}?{urlencode({'ids': ids})}"


def page(request: HttpRequest, site: AdminSite, action: str) -> HttpResponse:
    """Asks, and does it. The caller has looked at who may."""
    question = QUESTIONS.get(action)
    chosen = _chosen(request.GET.get("ids", ""))
    if question is None or not chosen:
        raise Http404
    if not request.user.has_perm("endpoints.change_endpoint"):
        raise PermissionDenied
    others = _others_on_their_hosts(chosen)
    sent = request.POST if request.method == "POST" else None
    form = OperationForm(sent, timed=action == "maintain", others=others)
    if form.is_valid():
        given = form.cleaned_data
        everyone = [*chosen, *others] if given.get("whole_host") else chosen
        _operate(action, everyone, until=given.get("until"))
        messages.success(request, _said(question, everyone, given.get("until")))
        return HttpResponseRedirect(reverse("admin:endpoints_endpoint_changelist"))
    context = {**site.each_context(request), "question": question, "title": question.title}
    context |= {"chosen": chosen, "form": form, "opts": Endpoint._meta}
    return TemplateResponse(request, "admin/endpoints/endpoint/operate.html", context)


def bulk_action(name: str) -> Callable[..., Any]:
    """The admin action of a button, for the endpoints that are ticked."""

    @admin.action(
        description=format_lazy("{}: {}", BUTTONS[name].label, _("selected endpoints")),
        permissions=["change"],
    )
    def act(model_admin: ModelAdmin[Endpoint], request: HttpRequest, queryset: QuerySet[Endpoint]) -> None:
        model_admin.message_user(request, press(name, list(queryset)), messages.SUCCESS)

    act.__name__ = name
    return act


def asking_action(name: str) -> Callable[..., Any]:
    """The admin action that leads to the page of `admin_operating`."""

    @admin.action(
        description=format_lazy("{}: {}…", QUESTIONS[name].title, _("selected endpoints")),
        permissions=["change"],
    )
    def ask(
        model_admin: ModelAdmin[Endpoint],  # noqa: ARG001
        request: HttpRequest,  # noqa: ARG001
        queryset: QuerySet[Endpoint],
    ) -> HttpResponse:
        return HttpResponseRedirect(url_of(name, list(queryset)))

    ask.__name__ = name
    return ask


def _chosen(ids: str) -> list[Endpoint]:
    numbers = [word for word in ids.split(",") if word.isdecimal() and len(word) <= MAX_ID_DIGITS]
    return list(Endpoint.objects.filter(pk__in=numbers))


def _others_on_their_hosts(chosen: Sequence[Endpoint]) -> list[Endpoint]:
    hosts = {host_of(each.url) for each in chosen}
    ids = {each.pk for each in chosen}
    return [each for each in Endpoint.objects.all() if each.pk not in ids and host_of(each.url) in hosts]


def _operate(action: str, endpoints: Sequence[Endpoint], *, until: datetime | None) -> None:
    operate = operations.named(action, until=until)
    with transaction.atomic():
        for endpoint in endpoints:
            operate(endpoint=endpoint)


def _said(question: Question, endpoints: Sequence[Endpoint], until: datetime | None) -> str:
    who = (
        endpoints[0].name
        if len(endpoints) == 1
        else gettext("{number} endpoints").format(number=len(endpoints))
    )
    said: str = question.said.format(who, until)
    return said
