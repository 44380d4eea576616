"""The history of changes in the admin: to be read, by whoever may see endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.utils.html import format_html_join
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _

from endpoints.administration.admin_history import ToLookAt
from endpoints.models import Change

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import HttpRequest
    from django.utils.safestring import SafeString

    ChangeAdminBase = admin.ModelAdmin[Change]
else:
    ChangeAdminBase = admin.ModelAdmin  # generic for the type checker only


# What is stored in English (changes.record) and shown in the reader's language. Kinds are names of models.
ACTIONS: Final = (
    *(gettext_noop("added"), gettext_noop("changed"), gettext_noop("deleted")),
    *(gettext_noop("put in service"), gettext_noop("drained"), gettext_noop("paused")),
    *(gettext_noop("in maintenance"), gettext_noop("switched on"), gettext_noop("switched off")),
    gettext_noop("new link"),
)
WAYS: Final = (gettext_noop("admin"), gettext_noop("page"), "REST API", gettext_noop("command line"))


class Translated(admin.AllValuesFieldListFilter):
    """By the words that are stored, in the reader's language."""

    def choices(self, changelist: Any) -> Iterator[Any]:
        for choice in super().choices(changelist):
            yield {**choice, "display": gettext(str(choice["display"]))}


@admin.register(Change)
class ChangeAdmin(ToLookAt, ChangeAdminBase):
    list_display = ["at", "actor", "done", "of_kind", "name", "what", "where"]
    list_display_links = None
    list_filter = ["at", *((field, Translated) for field in ("action", "via", "kind"))]
    search_fields = ["actor", "name"]
    search_help_text = _("Person, endpoint or alias")

    @admin.display(description=_("action"), ordering="action")
    def done(self, change: Change) -> str:
        return gettext(change.action)

    @admin.display(description=_("kind"), ordering="kind")
    def of_kind(self, change: Change) -> str:
        return gettext(change.kind)

    @admin.display(description=_("by way of"), ordering="via")
    def where(self, change: Change) -> str:
        return gettext(change.via)

    @admin.display(description=_("what"))
    def what(self, change: Change) -> SafeString:
        return format_html_join("", "<div>{}</div>", ((one,) for one in change.differences))

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm("endpoints.view_change") or request.user.has_perm(
            "endpoints.view_endpoint"
        )
