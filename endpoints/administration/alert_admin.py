"""Alert channels in the admin: whom to tell of what, a button that tests it, and what was sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from endpoints.administration.admin_history import ToLookAt
from endpoints.administration.alert_form import AlertChannelForm
from endpoints.alerts import alert_channels, alerts
from endpoints.alerts.alert_models import AlertChannel, AlertDelivery, ChannelKind
from endpoints.templatetags.fleet import clock
from ollaproject.fieldsets import without

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest
    from django.urls import URLPattern, URLResolver
    from django.utils.safestring import SafeString

    ChannelAdmin = admin.ModelAdmin[AlertChannel]
    DeliveryAdmin = admin.ModelAdmin[AlertDelivery]
else:
    ChannelAdmin = admin.ModelAdmin  # generic for the type checker only
    DeliveryAdmin = admin.ModelAdmin

DELIVERIES_SHOWN = 20


@admin.register(AlertChannel)
class AlertChannelAdmin(ChannelAdmin):
    form = AlertChannelForm
    list_display = ("name", "kind", "goes_to", "enabled", "last")
    list_filter = ("kind", "enabled")
    search_fields = ("name",)
    fieldsets = (
        (None, {"fields": ["name", "kind", "enabled"]}),
        (
            _("Where"),
            {
                "fields": ["new_url", "new_secret", "remove_secret", "recipients"],
                "description": _("A URL for webhooks, Slack, Discord and ntfy; addresses for e-mail."),
            },
        ),
        (_("Of what"), {"fields": [("on_down", "on_back"), ("on_flapping", "on_budget")]}),
        (_("When"), {"fields": ["group_seconds", ("quiet_from", "quiet_until"), "time_zone"]}),
    )

    class Media:
        css = {"all": ["endpoints/endpoint_form.css"]}

    @admin.display(description=_("goes to"))
    def goes_to(self, channel: AlertChannel) -> str:
        return channel.recipients if channel.kind == ChannelKind.EMAIL else channel.host

    @admin.display(description=_("last alert"))
    def last(self, channel: AlertChannel) -> SafeString | str:
        newest = channel.deliveries.first()
        return clock(newest.at, "ago") if newest else "-"

    def get_fieldsets(self, request: HttpRequest, obj: AlertChannel | None = None) -> Any:
        """Only a secret that is stored can be removed."""
        hidden = set() if obj and obj.encrypted_secret else {"remove_secret"}
        if not (self.has_change_permission(request, obj) if obj else self.has_add_permission(request)):
            hidden |= {"new_url", "new_secret", "remove_secret"}
        return without(self.fieldsets, hidden)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        channel = kwargs.get("obj")
        if channel is not None:
            context |= {"channel": channel, "deliveries": channel.deliveries.all()[:DELIVERIES_SHOWN]}
        return super().render_change_form(request, context, *args, **kwargs)

    def save_model(
        self,
        request: HttpRequest,  # noqa: ARG002
        obj: AlertChannel,
        form: Any,
        change: bool,  # noqa: ARG002, FBT001
    ) -> None:
        alert_channels.save(obj, form.changed_data)

    def delete_model(self, request: HttpRequest, obj: AlertChannel) -> None:  # noqa: ARG002
        alert_channels.delete([obj])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[AlertChannel]) -> None:  # noqa: ARG002
        alert_channels.delete(queryset)

    def get_urls(self) -> list[URLPattern | URLResolver]:  # type: ignore[override]  # the stubs know no resolvers here
        tested = path(
            "<int:channel_id>/test/",
            self.admin_site.admin_view(self.test_view),
            name="endpoints_alertchannel_test",
        )
        return [tested, *super().get_urls()]

    def test_view(self, request: HttpRequest, channel_id: int) -> HttpResponse:
        if request.method != "POST":
            return HttpResponse(status=405, headers={"Allow": "POST"})
        if not self.has_change_permission(request):
            raise PermissionDenied
        channel = get_object_or_404(AlertChannel, pk=channel_id)
        alerts.send_test(channel)
        said = gettext(
            "A test is on its way. What came of it is shown below within seconds: load this page again."
        )
        self.message_user(request, said, messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:endpoints_alertchannel_change", args=[channel_id]))


@admin.register(AlertDelivery)
class AlertDeliveryAdmin(ToLookAt, DeliveryAdmin):
    list_display = ("at", "channel", "kind", "text", "state", "attempts", "sent_at", "error")
    list_display_links = None
    list_filter = ("at", "state", "kind", "channel")
    list_select_related = ("channel",)
    search_fields = ("subject", "text", "error")
