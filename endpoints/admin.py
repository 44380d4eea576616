"""The fleet in Django's admin: a list that says how each endpoint is, a form in sections, and buttons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.forms import Script
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.text import capfirst
from django.utils.translation import gettext, override, pgettext
from django.utils.translation import gettext_lazy as _

from endpoints.administration import (
    admin_files,
    alert_admin,  # noqa: F401 - registers itself
    alias_admin,  # noqa: F401 - registers itself
    change_admin,  # noqa: F401 - registers itself
    status_page_admin,  # noqa: F401 - registers itself
)
from endpoints.administration.admin_filters import ModeFilter, StatusFilter
from endpoints.administration.admin_operating import QUESTIONS, asking_action, bulk_action, page, url_of
from endpoints.administration.admin_trial import trial
from endpoints.administration.forms import EndpointForm
from endpoints.choices import SET_ASIDE, Mode
from endpoints.models import Endpoint, EndpointHealth, HealthCheck, Transition
from endpoints.pages.buttons import BUTTONS, press
from endpoints.pages.overview import MODE_WORDS, card_of
from endpoints.past import changes
from endpoints.templatetags.fleet import clock, mode_pill, status_pill
from ollaproject.fieldsets import without

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.models import QuerySet
    from django.http import HttpRequest
    from django.urls import URLPattern, URLResolver
    from django.utils.safestring import SafeString

    EndpointModelAdmin = admin.ModelAdmin[Endpoint]
else:
    EndpointModelAdmin = admin.ModelAdmin  # generic for the type checker only

CHECKS_SHOWN = 20
TRANSITIONS_SHOWN = 10
MODELS_LISTED = 2
NOTHING = "-"

admin.site.site_header = "ollaproject"
admin.site.site_title = "ollaproject"
admin.site.index_title = _("Administration")
admin.site.enable_nav_sidebar = False


def health_of(endpoint: Endpoint) -> EndpointHealth | None:
    return cast("EndpointHealth | None", getattr(endpoint, "health", None))


@admin.register(Endpoint)
class EndpointAdmin(EndpointModelAdmin):
    form = EndpointForm
    list_display = [
        "endpoint",
        "status",
        "last_check",
        "latency",
        "served",
        "mode_shown",
        "rank",
    ]
    list_filter = [StatusFilter, ModeFilter, "type"]
    list_per_page = 100
    list_select_related = ["health"]
    search_fields = ["name", "url", "type", "models__name"]
    search_help_text = _("Name, URL, type or model")
    ordering = ["name"]
    save_on_top = False
    actions = [bulk_action(name) for name in ("check", "activate")] + [*map(asking_action, QUESTIONS)]
    fieldsets = [
        (None, {"fields": ["name", "url", "type", "mode", "tags"]}),
        (
            _("Health checks"),
            {
                "fields": [
                    ("check_interval_seconds", "check_timeout_seconds"),
                    ("health_check_url", "deep_check_interval_seconds"),
                ]
            },
        ),
        (
            _("Authentication"),
            {
                "fields": [
                    "auth_kind",
                    "auth_username",
                    "auth_header",
                    "new_credential",
                    "remove_credential",
                ],
                "description": _(
                    "How this gateway signs in there. What clients send to us is never passed on."
                ),
            },
        ),
        (_("Routing"), {"fields": ["priority", "weight", "max_concurrent", "preserve_path"]}),
        (
            _("Models"),
            {
                "fields": ["model_url", "model_include", "model_exclude"],
                "description": _("Which of its models are served through the gateway."),
            },
        ),
        (
            _("Timeouts and headers"),
            {
                "fields": [
                    "connect_timeout_seconds",
                    "first_byte_timeout_seconds",
                    "idle_timeout_seconds",
                    "retry",
                    "headers",
                ]
            },
        ),
    ]

    class Media:
        css = {"all": ["endpoints/endpoint_form.css"]}
        js = [Script("endpoints/endpoint_form.js", type="module")]

    # --- The list

    def get_queryset(self, request: HttpRequest) -> QuerySet[Endpoint]:
        return super().get_queryset(request).prefetch_related("models")

    @admin.display(description=_("endpoint"), ordering="name")
    def endpoint(self, endpoint: Endpoint) -> SafeString:
        card = card_of(endpoint, default_priority=0)
        return format_html('{}<span class="where">{}<br>{}</span>', card.name, card.host, card.type)

    @admin.display(description=_("status"), ordering="health__status")
    def status(self, endpoint: Endpoint) -> SafeString | str:
        health = health_of(endpoint)
        if health is None or endpoint.mode in SET_ASIDE:
            return NOTHING
        since = format_html(
            '<span class="where">{} {}</span>',
            pgettext("a length of time", "for"),
            clock(health.since, "for"),
        )
        reason = (
            format_html('<span class="where">{}</span>', capfirst(health.reason)) if health.reason else ""
        )
        return format_html("{}{}{}", status_pill(health.status), reason, since)

    @admin.display(description=_("last check"), ordering="health__checked_at")
    def last_check(self, endpoint: Endpoint) -> SafeString | str:
        health = health_of(endpoint)
        return clock(health.checked_at, "ago") if health and health.checked_at else NOTHING

    @admin.display(description=_("latency"), ordering="health__latency_seconds")
    def latency(self, endpoint: Endpoint) -> str:
        milliseconds = card_of(endpoint, default_priority=0).latency_ms
        return NOTHING if milliseconds is None else f"{milliseconds} ms"

    @admin.display(description=_("models"))
    def served(self, endpoint: Endpoint) -> SafeString | str:
        names = [model.name for model in endpoint.models.all()]
        if not names:
            return NOTHING
        shown = format_html_join("", "<li>{}</li>", ((name,) for name in names[:MODELS_LISTED]))
        rest = (
            format_html("<li>{}</li>", gettext("+%(number)s more") % {"number": len(names) - MODELS_LISTED})
            if len(names) > MODELS_LISTED
            else ""
        )
        return format_html('<ul class="names" title="{}">{}{}</ul>', "\n".join(names), shown, rest)

    @admin.display(description=_("mode"), ordering="mode")
    def mode_shown(self, endpoint: Endpoint) -> SafeString | str:
        return str(MODE_WORDS[Mode.ACTIVE]) if endpoint.mode == Mode.ACTIVE else mode_pill(endpoint.mode)

    @admin.display(description=_("priority"), ordering="priority")
    def rank(self, endpoint: Endpoint) -> str:
        return gettext("default") if endpoint.priority is None else str(endpoint.priority)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().changelist_view(request, {"title": _("Endpoints"), **(extra_context or {})})

    # --- The form

    def get_fieldsets(self, request: HttpRequest, obj: Endpoint | None = None) -> Any:
        """Once it exists, its buttons set the mode; and only a credential that is stored can be removed."""
        hidden = {"mode"} if obj else set()
        if obj is None or not obj.has_credential:
            hidden.add("remove_credential")
        if not (self.has_change_permission(request, obj) if obj else self.has_add_permission(request)):
            hidden |= {"new_credential", "remove_credential"}
        return without(self.fieldsets, hidden)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        endpoint = kwargs.get("obj")
        if endpoint is not None:
            context |= {
                "card": card_of(endpoint, default_priority=0),
                "buttons": [
                    (name, button) for name, button in BUTTONS.items() if endpoint.mode in button.modes
                ],
                "maintain_url": url_of("maintain", [endpoint]),
                "checks": HealthCheck.objects.filter(endpoint=endpoint)[:CHECKS_SHOWN],
                "transitions": Transition.objects.filter(endpoint=endpoint)[:TRANSITIONS_SHOWN],
            }
        return super().render_change_form(request, context, *args, **kwargs)

    def save_model(
        self,
        request: HttpRequest,  # noqa: ARG002
        obj: Endpoint,
        form: Any,  # noqa: ARG002
        change: bool,  # noqa: ARG002, FBT001
    ) -> None:
        changes.save(obj)

    def delete_model(self, request: HttpRequest, obj: Endpoint) -> None:  # noqa: ARG002
        changes.delete([obj])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Endpoint]) -> None:  # noqa: ARG002
        changes.delete(queryset)

    # --- Buttons and deletion

    def get_urls(self) -> list[URLPattern | URLResolver]:  # type: ignore[override]  # the stubs know no resolvers here
        pressed = path(
            "<int:endpoint_id>/press/<str:action>/",
            self.admin_site.admin_view(self.press_view),
            name="endpoints_endpoint_press",
        )
        operate = path(
            "operate/<str:action>/",
            self.admin_site.admin_view(lambda request, action: page(request, self.admin_site, action)),
            name="endpoints_endpoint_operate",
        )
        view = self.admin_site.admin_view
        more = [
            path("test/", view(lambda request: trial(request, self)), name="endpoints_endpoint_test"),
            path("export/", view(admin_files.export), name="endpoints_endpoint_export"),
            path(
                "import/",
                view(lambda request: admin_files.upload(request, self.admin_site)),
                name="endpoints_endpoint_import",
            ),
        ]
        return [pressed, operate, *more, *super().get_urls()]

    def press_view(self, request: HttpRequest, endpoint_id: int, action: str) -> HttpResponse:
        if request.method != "POST":
            return HttpResponse(status=405, headers={"Allow": "POST"})
        if not self.has_change_permission(request):
            raise PermissionDenied
        if action not in BUTTONS:
            raise Http404
        endpoint = get_object_or_404(Endpoint, pk=endpoint_id)
        self.message_user(request, press(action, [endpoint]), messages.SUCCESS)
        with override("en"):  # whoever reads it later
            self.log_change(request, endpoint, f"{BUTTONS[action].label}.")
        return HttpResponseRedirect(reverse("admin:endpoints_endpoint_change", args=[endpoint_id]))

    def get_deleted_objects(self, objs: QuerySet[Endpoint] | Sequence[Endpoint], request: HttpRequest) -> Any:
        """Counts instead of rows: an endpoint has thousands of checks, and nobody reads them all."""
        chosen = list(objs)
        number = {
            self.opts.verbose_name_plural: len(chosen),
            HealthCheck._meta.verbose_name_plural: HealthCheck.objects.filter(endpoint__in=chosen).count(),
            Transition._meta.verbose_name_plural: Transition.objects.filter(endpoint__in=chosen).count(),
        }
        missing = set() if self.has_delete_permission(request) else {self.opts.verbose_name}
        return [str(endpoint) for endpoint in chosen], number, missing, []
