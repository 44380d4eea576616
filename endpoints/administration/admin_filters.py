"""By what the list of endpoints in the admin can be narrowed: how they are, and their mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from endpoints.choices import Status
from endpoints.pages.overview import MODE_WORDS

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest

    from endpoints.models import Endpoint


class StatusFilter(admin.SimpleListFilter):
    title = _("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [(value, str(word)) for value, word in Status.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Endpoint]) -> QuerySet[Endpoint]:  # noqa: ARG002
        return queryset.filter(health__status=self.value()) if self.value() else queryset


class ModeFilter(admin.SimpleListFilter):
    title = _("mode")
    parameter_name = "mode"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [(mode.value, str(word)) for mode, word in MODE_WORDS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Endpoint]) -> QuerySet[Endpoint]:  # noqa: ARG002
        return queryset.filter(mode=self.value()) if self.value() else queryset
