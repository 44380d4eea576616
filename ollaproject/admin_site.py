"""Django's admin site, entered by role: operators and administrators need no flag beside their role."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.admin import AdminSite
from django.contrib.auth.forms import AuthenticationForm

from ollaproject.wire.roles import enters_admin

if TYPE_CHECKING:
    from django.http import HttpRequest


class Site(AdminSite):
    login_form = AuthenticationForm  # the admin's own asks for the flag

    def has_permission(self, request: HttpRequest) -> bool:
        return enters_admin(request.user)
