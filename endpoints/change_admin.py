"""The history of changes in the admin: to be read, by whoever may see endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.utils.html import format_html_join
from django.utils.translation import gettext_lazy as _

from endpoints.admin_history import ToLookAt
from endpoints.models import Change

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.utils.safestring import SafeString

    ChangeAdminBase = admin.ModelAdmin[Change]
else:
    ChangeAdminBase = admin.ModelAdmin  # generic for the type checker only


@admin.register(Change)
class ChangeAdmin(ToLookAt, ChangeAdminBase):
    list_display = ["at", "actor", "action", "kind", "name", "what", "via"]
    list_display_links = None
    list_filter = ["at", "action", "via", "kind"]
    search_fields = ["actor", "name"]
    search_help_text = _("Person, endpoint or alias")

    @admin.display(description=_("what"))
    def what(self, change: Change) -> SafeString:
        return format_html_join("", "<div>{}</div>", ((one,) for one in change.differences))

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm("endpoints.view_change") or request.user.has_perm(
            "endpoints.view_endpoint"
        )
