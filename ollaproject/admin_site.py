"""Django's admin site, entered by role: operators and administrators need no flag beside their role."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.admin import AdminSite
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import PermissionDenied
from django.http import Http404

from ollaproject.wire.roles import enters_admin

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


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
