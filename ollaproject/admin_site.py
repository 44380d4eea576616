"""Django's admin site, entered by role: operators and administrators need no flag beside their role."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.contrib.admin import AdminSite
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.utils.translation import gettext_lazy as _

from ollaproject.wire.roles import enters_admin

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

# What is looked for most comes first; apps that are not named follow.
ORDER: Final = ("endpoints", "proxy", "inference", "auth", "axes")
NAMES: Final = {"axes": _("Sign-in attempts")}


class Site(AdminSite):
    login_form = AuthenticationForm  # the admin's own asks for the flag

    def has_permission(self, request: HttpRequest) -> bool:
        return enters_admin(request.user)

    def autocomplete_view(self, request: HttpRequest) -> HttpResponse:
        """Choices for a field. A URL that names none leads nowhere. Django's view would log a traceback."""
        try:
            return super().autocomplete_view(request)
        except PermissionDenied as refused:
            if refused.__cause__ is None:
                raise
            raise Http404 from None

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        apps: list[Any] = super().get_app_list(request, app_label)
        for app in apps:
            app["name"] = NAMES.get(app["app_label"], app["name"])
        return sorted(apps, key=place)


def place(app: Any) -> int:
    label = app["app_label"]
    return ORDER.index(label) if label in ORDER else len(ORDER)
