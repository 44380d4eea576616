"""The history of requests and the usage by day in the admin pages: to look at, not to change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from endpoints.administration.admin_history import NameFilter, ToLookAt
from endpoints.models import Endpoint, EndpointModel
from ollaproject.wire import roles
from proxy.access import key_admin  # noqa: F401 - registers itself
from proxy.models import ApiKey, BudgetReached, ModelPrice, RequestRecord, UsageTotal
from proxy.pages.request_search import LAST

if TYPE_CHECKING:
    from collections.abc import Iterable

    RecordAdmin = admin.ModelAdmin[RequestRecord]
    TotalAdmin = admin.ModelAdmin[UsageTotal]
    PriceAdmin = admin.ModelAdmin[ModelPrice]
    NoticeAdmin = admin.ModelAdmin[BudgetReached]
else:
    RecordAdmin = TotalAdmin = PriceAdmin = NoticeAdmin = admin.ModelAdmin


class EndpointFilter(NameFilter):
    title = _("endpoint")
    parameter_name = "endpoint"

    def names(self) -> Iterable[str]:
        return Endpoint.objects.order_by("name").values_list("name", flat=True)


class ModelFilter(NameFilter):
    title = _("model")
    parameter_name = "model"

    def names(self) -> Iterable[str]:
        return EndpointModel.objects.order_by("name").values_list("name", flat=True).distinct()


class TeamFilter(NameFilter):
    title = _("team")
    parameter_name = "team_name"

    def names(self) -> Iterable[str]:
        return Group.objects.filter(roles.are_teams()).order_by("name").values_list("name", flat=True)


@admin.register(RequestRecord)
class RequestRecordAdmin(ToLookAt, RecordAdmin):
    list_display = (
        *("at", "request_id", "key_name", "user_name", "route", "model", "endpoint"),
        *("status", "error_code", "limited_by", "duration_ms"),
    )
    list_filter = ("outcome", "at", EndpointFilter, ModelFilter)
    exactly = search_fields = ("model", "endpoint")
    search_help_text = _("The beginning of a request id, or the name of a key, user, team, model or endpoint")

    def search_parts(self, term: str) -> list[Q]:
        """Each has an index with the time in it, or leads to one."""
        return [
            *super().search_parts(term),
            Q(request_id__gte=term, request_id__lt=term + LAST),
            Q(key_id__in=list(ApiKey.objects.filter(name=term).values_list("pk", flat=True))),
            Q(user_id__in=list(User.objects.filter(username=term).values_list("pk", flat=True))),
            Q(team_id__in=list(Group.objects.filter(name=term).values_list("pk", flat=True))),
        ]


@admin.register(UsageTotal)
class UsageTotalAdmin(ToLookAt, TotalAdmin):
    list_display = (
        *("day", "key_name", "user_name", "team_name", "model", "endpoint"),
        *("requests", "failures", "limited", "prompt_tokens", "cached_tokens", "completion_tokens"),
    )
    list_filter = ("day", TeamFilter, ModelFilter, EndpointFilter)
    exactly = search_fields = ("key_name", "user_name", "team_name", "model", "endpoint")
    search_help_text = _("The whole name of a key, user, team, model or endpoint")


@admin.register(BudgetReached)
class BudgetReachedAdmin(ToLookAt, NoticeAdmin):
    list_display = ("at", "kind", "name", "period", "since", "budget")
    list_filter = ("kind", "period")
    search_fields = ("name",)


@admin.register(ModelPrice)
class ModelPriceAdmin(PriceAdmin):
    list_display = ("pattern", "prompt", "cached", "completion")
    search_fields = ("pattern",)
