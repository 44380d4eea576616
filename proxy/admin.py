"""The history of requests in the admin pages: to look at, not to change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin

from proxy.models import RequestRecord

if TYPE_CHECKING:
    from django.http import HttpRequest

    RecordAdmin = admin.ModelAdmin[RequestRecord]
else:
    RecordAdmin = admin.ModelAdmin


@admin.register(RequestRecord)
class RequestRecordAdmin(RecordAdmin):
    list_display = ("at", "request_id", "route", "model", "endpoint", "status", "error_code", "duration_ms")
    list_filter = ("status", "stream", "client_left", "endpoint", "model")
    search_fields = ("request_id", "model", "endpoint", "error_code")
    date_hierarchy = "at"
    list_per_page = 50
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False
