"""The status page in the admin: switched on or off, its link shown, and made anew when it got about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from endpoints.past import changes
from endpoints.status_page_row import StatusPage, new_token

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.urls import URLPattern, URLResolver
    from django.utils.safestring import SafeString

    StatusPageAdminBase = admin.ModelAdmin[StatusPage]
else:
    StatusPageAdminBase = admin.ModelAdmin  # generic for the type checker only

CHANGE_URL = "admin:endpoints_statuspage_change"


@admin.register(StatusPage)
class StatusPageAdmin(StatusPageAdminBase):
    fields = ["enabled", "title", "shows_models", "link", "badge"]
    readonly_fields = ["link", "badge"]
    change_form_template = "admin/endpoints/statuspage/change_form.html"

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def changelist_view(
        self,
        request: HttpRequest,
        extra_context: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> HttpResponse:
        """There is one, so its form is the list."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        page, _made = StatusPage.objects.get_or_create(pk=StatusPage.SINGLETON)
        return HttpResponseRedirect(reverse(CHANGE_URL, args=[page.pk]))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        self._base_url = request.build_absolute_uri("/").rstrip("/")
        return super().change_view(request, object_id, form_url, extra_context)

    @admin.display(description=_("link"))
    def link(self, page: StatusPage) -> SafeString | str:
        if not page.enabled:
            return gettext("It is switched off.")
        url = self._base_url + reverse("status-page", args=[page.token])
        return format_html('<a href="{}">{}</a>', url, url)

    @admin.display(description=_("badge"))
    def badge(self, page: StatusPage) -> SafeString | str:
        if not page.enabled:
            return "-"
        svg = self._base_url + reverse("status-badge-svg", args=[page.token])
        json = self._base_url + reverse("status-badge-json", args=[page.token])
        return format_html(
            '<img src="{}" alt="{}"><br><code>{}</code><br><code>{}</code>',
            svg,
            gettext("The badge as it is now"),
            svg,
            json,
        )

    def save_model(self, request: HttpRequest, obj: StatusPage, form: Any, change: bool) -> None:  # noqa: FBT001
        super().save_model(request, obj, form, change)
        changes.record(obj, "switched on" if obj.enabled else "switched off")

    def get_urls(self) -> list[URLPattern | URLResolver]:  # type: ignore[override]  # the stubs know no resolvers here
        renew = path("renew/", self.admin_site.admin_view(self.renew_view), name="endpoints_statuspage_renew")
        return [renew, *super().get_urls()]

    def renew_view(self, request: HttpRequest) -> HttpResponse:
        if request.method != "POST":
            return HttpResponse(status=405, headers={"Allow": "POST"})
        if not self.has_change_permission(request):
            raise PermissionDenied
        page, _made = StatusPage.objects.get_or_create(pk=StatusPage.SINGLETON)
        page.token = new_token()
        page.save(update_fields=["token"])
        changes.record(page, "new link")
        self.message_user(
            request, _("The old link leads nowhere any more. This is the new one."), messages.SUCCESS
        )
        return HttpResponseRedirect(reverse(CHANGE_URL, args=[page.pk]))
