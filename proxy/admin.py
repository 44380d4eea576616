"""The history of requests and the usage by day in the admin pages: to look at, not to change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin

from endpoints.admin_history import ToLookAt
from proxy import key_admin  # noqa: F401 - registers itself
from proxy.models import BudgetReached, ModelPrice, RequestRecord, UsageTotal

if TYPE_CHECKING:
    from collections.abc import Iterator

    RecordAdmin = admin.ModelAdmin[RequestRecord]
    TotalAdmin = admin.ModelAdmin[UsageTotal]
    PriceAdmin = admin.ModelAdmin[ModelPrice]
    NoticeAdmin = admin.ModelAdmin[BudgetReached]
else:
    RecordAdmin = TotalAdmin = PriceAdmin = NoticeAdmin = admin.ModelAdmin


class Named(admin.AllValuesFieldListFilter):
    """A link without words could not be followed: what has no name is called so."""

    def choices(self, changelist: Any) -> Iterator[Any]:
        for choice in super().choices(changelist):
            yield {**choice, "display": choice["display"] or "none"}


@admin.register(RequestRecord)
class RequestRecordAdmin(ToLookAt, RecordAdmin):
    list_display = (
        *("at", "request_id", "key_name", "user_name", "route", "model", "endpoint"),
        *("status", "error_code", "limited_by", "duration_ms"),
    )
    list_filter = ("status", "stream", "client_left", ("endpoint", Named), ("model", Named))
    search_fields = ("request_id", "key_name", "user_name", "team_name", "model", "endpoint", "error_code")
    date_hierarchy = "at"


@admin.register(UsageTotal)
class UsageTotalAdmin(ToLookAt, TotalAdmin):
    list_display = (
        *("day", "key_name", "user_name", "team_name", "model", "endpoint"),
        *("requests", "failures", "limited", "prompt_tokens", "cached_tokens", "completion_tokens"),
    )
    list_filter = ("day", ("team_name", Named), ("model", Named), ("endpoint", Named))
    search_fields = ("key_name", "user_name", "team_name", "model", "endpoint")


@admin.register(BudgetReached)
class BudgetReachedAdmin(ToLookAt, NoticeAdmin):
    list_display = ("at", "kind", "name", "period", "since", "budget")
    list_filter = ("kind", "period")
    search_fields = ("name",)


@admin.register(ModelPrice)
class ModelPriceAdmin(PriceAdmin):
    list_display = ("pattern", "prompt", "cached", "completion")
    search_fields = ("pattern",)
