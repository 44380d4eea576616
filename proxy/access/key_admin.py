"""Keys in the admin: made here, their secret shown once, rotated, revoked. Limits of teams and people."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.cache import add_never_cache_headers
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from endpoints.templatetags.fleet import clock as shown_time
from ollaproject.wire import clock
from proxy.access import keys
from proxy.access.key_form import ApiKeyForm, SharedLimitsForm
from proxy.models import ApiKey, PersonLimits, TeamLimits

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest
    from django.urls import URLPattern, URLResolver
    from django.utils.safestring import SafeString

    KeyAdmin = admin.ModelAdmin[ApiKey]
    LimitsAdmin = admin.ModelAdmin[Any]
else:
    KeyAdmin = LimitsAdmin = admin.ModelAdmin  # generic for the type checker only

LIMITS = (
    ("requests_per_minute", "tokens_per_minute", "concurrent"),
    ("tokens_per_day", "tokens_per_month", "max_tokens"),
)
NOTHING: Final = "-"
STATE_WORDS: Final = {
    "active": _("Active"),
    "disabled": _("Switched off"),
    "expired": _("Expired"),
    "revoked": _("Revoked"),
}


class StateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [(state, str(STATE_WORDS[state])) for state in keys.STATES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:  # noqa: ARG002
        return keys.in_state(queryset, str(self.value()), clock.now()) if self.value() else queryset


@admin.register(ApiKey)
class ApiKeyAdmin(KeyAdmin):
    form = ApiKeyForm
    list_display = ("name", "public_id", "state", "owner", "team", "expires", "last_used")
    list_filter = (StateFilter, "team", ("owner", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("owner", "team")
    search_fields = ("name", "public_id", "owner__username", "team__name", "notes")
    search_help_text = _("Name, id, owner, team or notes")
    list_per_page = 100
    actions = None
    fieldsets = (
        (None, {"fields": ["name", ("owner", "team"), "expires_at", "enabled"]}),
        (
            _("What it may use"),
            {"fields": ["allowed_models", "allowed_endpoints", "allowed_networks"]},
        ),
        (
            _("Limits"),
            {
                "fields": [*LIMITS, "priority"],
                "description": _(
                    "All optional. Empty: what OLLA_KEY_LIMITS says. 0: no limit. Tokens are "
                    "those of prompts and answers; days and months are those of UTC."
                ),
            },
        ),
        (_("Notes"), {"fields": ["notes", "rest_api", "keep_bodies"]}),
    )

    class Media:
        css = {"all": ["proxy/keys.css"]}

    @admin.display(description=_("state"))
    def state(self, key: ApiKey) -> SafeString:
        found = keys.state_of(key, clock.now())
        kept = (
            format_html(' <span class="key-state disabled">{}</span>', gettext("keeps bodies"))
            if key.keep_bodies
            else ""
        )
        return format_html('<span class="key-state {}">{}</span>{}', found, STATE_WORDS[found], kept)

    @admin.display(description=_("expires"), ordering="expires_at")
    def expires(self, key: ApiKey) -> str:
        return f"{key.expires_at:%Y-%m-%d}" if key.expires_at else gettext("never")

    @admin.display(description=_("last used"), ordering="last_used_at")
    def last_used(self, key: ApiKey) -> SafeString | str:
        return shown_time(key.last_used_at, "ago") if key.last_used_at else gettext("never")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().changelist_view(request, {"title": _("API keys"), **(extra_context or {})})

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return super().has_change_permission(request, obj) and (
            obj is None or keys.may_hold(request.user, obj)
        )

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        """A key that acts for its owner is not given to somebody else: it would act for them."""
        kept = ("rest_api", "owner") if obj is not None and obj.rest_api else ("rest_api",)
        return ("rest_api",) if request.user.is_superuser else kept

    # --- Making one

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:  # noqa: FBT001
        if change:
            super().save_model(request, obj, form, change)
        else:
            request.issued = keys.issue(key=obj)  # type: ignore[attr-defined]  # for response_add

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: Any = None) -> HttpResponse:  # noqa: ARG002
        return self._show_once(request, request.issued)  # type: ignore[attr-defined]

    def _show_once(self, request: HttpRequest, issued: keys.Issued) -> HttpResponse:
        """The one page that has the secret. It is in no other, and in no cache."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": gettext("The key %(name)s") % {"name": issued.key.name},
            "key": issued.key,
            "plain": issued.plain,
        }
        response = TemplateResponse(request, "admin/proxy/apikey/secret.html", context)
        add_never_cache_headers(response)
        return response

    # --- Rotating and revoking

    def get_urls(self) -> list[URLPattern | URLResolver]:  # type: ignore[override]  # the stubs know no resolvers here
        wrap = self.admin_site.admin_view
        own = [
            path("<int:key_id>/rotate/", wrap(self.rotate_view), name="proxy_apikey_rotate"),
            path("<int:key_id>/revoke/", wrap(self.revoke_view), name="proxy_apikey_revoke"),
        ]
        return [*own, *super().get_urls()]

    def rotate_view(self, request: HttpRequest, key_id: int) -> HttpResponse:
        key = self._to_change(request, key_id)
        if isinstance(key, HttpResponse):
            return key
        grace = request.POST.get("grace", "")
        if grace not in keys.GRACES or key.revoked_at is not None:
            return HttpResponse(gettext("Choose how long the old secret goes on working."), status=400)
        if not keys.may_hold(request.user, key):
            raise PermissionDenied(keys.NOT_THEIRS)
        issued = keys.rotate(key=key, grace=timedelta(hours=int(grace)))
        self.log_change(request, issued.key, "Rotated.")
        return self._show_once(request, issued)

    def revoke_view(self, request: HttpRequest, key_id: int) -> HttpResponse:
        key = self._to_change(request, key_id)
        if isinstance(key, HttpResponse):
            return key
        if keys.revoke(key=key):
            self.log_change(request, key, "Revoked.")
            self.message_user(
                request,
                gettext("Revoked {name}. It stops within a second.").format(name=key.name),
                messages.SUCCESS,
            )
        else:
            self.message_user(
                request, gettext("{name} was revoked already.").format(name=key.name), messages.INFO
            )
        return HttpResponseRedirect(reverse("admin:proxy_apikey_change", args=[key_id]))

    def _to_change(self, request: HttpRequest, key_id: int) -> ApiKey | HttpResponse:
        if request.method != "POST":
            return HttpResponse(status=405, headers={"Allow": "POST"})
        if not self.has_change_permission(request):
            raise PermissionDenied
        return get_object_or_404(ApiKey, pk=key_id)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        key = kwargs.get("obj")
        if key is not None:
            context |= {"key": key, "state": keys.state_of(key, clock.now()), "graces": keys.GRACES}
        return super().render_change_form(request, context, *args, **kwargs)


class SharedLimitsAdmin(LimitsAdmin):
    """`whose` is the field that says whom the limits are of."""

    whose = ""
    form = SharedLimitsForm
    actions = None

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:  # noqa: ARG002
        return (self.whose, *(name for row in LIMITS for name in row))

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:  # noqa: ARG002
        words = _("All optional. Empty: what {setting} says. 0: no limit.")
        shared = {
            "fields": ["allowed_models", *LIMITS],
            "description": words.format(setting=f"OLLA_{self.whose.upper()}_LIMITS"),
        }
        return ((None, {"fields": [self.whose]}), (_("What its keys may use together"), shared))


@admin.register(TeamLimits)
class TeamLimitsAdmin(SharedLimitsAdmin):
    whose = "team"
    list_select_related = ("team",)
    search_fields = ("team__name",)


@admin.register(PersonLimits)
class PersonLimitsAdmin(SharedLimitsAdmin):
    whose = "person"
    list_select_related = ("person",)
    search_fields = ("person__username",)
