"""Local models in Django's admin: a list that says how each is, a form in sections, and the buttons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import JsonResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.text import format_lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from inference.local import buttons, cards, configuring, hosts, record
from inference.local.choices import State
from inference.local.form import LocalModelForm
from inference.models import LocalModel
from inference.templatetags.local_models import state_pill
from ollaproject.fieldsets import without

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern, URLResolver
    from django.utils.safestring import SafeString

    LocalModelModelAdmin = admin.ModelAdmin[LocalModel]
else:
    LocalModelModelAdmin = admin.ModelAdmin  # generic for the type checker only

NOTHING = "-"
FROM_SETTINGS = _(
    "OLLA_MODEL names this model: the next start of manage.py serve makes it again. Set OLLA_MODEL to "
    "another one, or OLLA_WITHOUT_MODEL=true."
)


class StateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [(value, str(label)) for value, label in State.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[LocalModel]) -> QuerySet[LocalModel]:  # noqa: ARG002
        return queryset.filter(status__state=self.value()) if self.value() else queryset


def bulk_action(name: str) -> Callable[..., None]:
    """The admin action of a button, for the models that are ticked."""

    @admin.action(
        description=format_lazy(
            "{button}: {chosen}", button=buttons.BUTTONS[name].label, chosen=_("selected models")
        ),
        permissions=["change"],
    )
    def act(model_admin: LocalModelAdmin, request: HttpRequest, queryset: QuerySet[LocalModel]) -> None:
        pairs = [(model, record.status_of(model)) for model in queryset]
        model_admin.message_user(request, buttons.press(name, pairs), messages.SUCCESS)

    act.__name__ = name.replace("-", "_")
    return act


@admin.register(LocalModel)
class LocalModelAdmin(LocalModelModelAdmin):
    form = LocalModelForm
    list_display = ["called", "state", "how", "memory", "machine", "starts"]
    list_filter = [StateFilter, "kind"]
    list_select_related = ["status"]
    list_per_page = 100
    search_fields = ["name", "source"]
    search_help_text = _("Name or source")
    ordering = ["name"]
    actions = [bulk_action(name) for name in ("start", "stop", "restart", "unload")]
    fieldsets = [
        (
            None,
            {"fields": ["origin", "source", "revision", "kind", "embedding_source", "name", "start_now"]},
        ),
        (
            _("When it runs"),
            {
                "fields": ["host", "autostart", "keep_alive_seconds", "pinned"],
                "description": _(
                    "An unloaded model takes no memory, stays listed, and is loaded when it is asked for."
                ),
            },
        ),
        (
            _("What it may use"),
            {
                "fields": [
                    ("memory_megabytes", "max_concurrent"),
                    ("context_limit", "prompt_cache_megabytes", "disk_cache_megabytes"),
                ],
                "description": _("All optional. Empty: what suits the model and the machine."),
            },
        ),
        (
            _("Answers"),
            {"fields": ["draft_source", "adapter_path", "chat_template_options", "aliases"]},
        ),
        (
            _("Access to its files"),
            {
                "fields": ["new_token", "remove_token", "runs_own_code"],
                "description": _("Only weights in safetensors are read, whoever offers them."),
            },
        ),
        (
            _("Server"),
            {"fields": ["port", "server_options"], "classes": ["collapse"]},
        ),
        (
            _("Over several machines"),
            {
                "fields": ["spread_over", "spread_through", "spread_hostfile"],
                "classes": ["collapse"],
                "description": _(
                    "For a model that is too large for any one of them: MLX's own launcher runs "
                    "it on all of them together, as one endpoint."
                ),
            },
        ),
    ]

    class Media:
        css = {"all": ["endpoints/endpoint_form.css", "inference/local_models.css"]}
        js = ["inference/local_model_form.js"]

    # --- The list

    @admin.display(description=_("model"), ordering="name")
    def called(self, model: LocalModel) -> SafeString:
        source = cards.source_words(model)
        return format_html(
            '{}<span class="where">{}</span>', model.name, source if source != model.name else ""
        )

    @admin.display(description=_("state"), ordering="status__state")
    def state(self, model: LocalModel) -> SafeString:
        return state_pill(record.status_of(model).state)

    @admin.display(description=_("how it is"))
    def how(self, model: LocalModel) -> str:
        return cards.said_of(model, record.status_of(model), hosts.alive()) or NOTHING

    @admin.display(description=_("memory"), ordering="status__memory_bytes")
    def memory(self, model: LocalModel) -> str:
        card = cards.card_of(model, record.status_of(model), hosts.alive())
        return card.memory or (card.estimate.words if card.estimate else NOTHING)

    @admin.display(description=_("machine"))
    def machine(self, model: LocalModel) -> str:
        return record.status_of(model).host or model.host or gettext("any")

    @admin.display(description=_("with the gateway"), boolean=True, ordering="autostart")
    def starts(self, model: LocalModel) -> bool:
        return model.autostart

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().changelist_view(request, {"title": _("Local models"), **(extra_context or {})})

    # --- The form

    def get_fieldsets(self, request: HttpRequest, obj: LocalModel | None = None) -> Any:
        """Once it exists its buttons start it; and only a token that is stored can be removed."""
        hidden = {"start_now"} if obj else set()
        if obj is None or not obj.encrypted_token:
            hidden.add("remove_token")
        if not (self.has_change_permission(request, obj) if obj else self.has_add_permission(request)):
            hidden |= {"origin", "new_token", "remove_token"}
        return without(self.fieldsets, hidden)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        model = kwargs.get("obj")
        if model is not None:
            context |= {
                "card": cards.card_of(model, record.status_of(model), hosts.alive()),
                "may_act": self.has_change_permission(request, model),
                "from_settings": FROM_SETTINGS if model.from_settings else "",
            }
        return super().render_change_form(request, context, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: LocalModel, form: Any, change: bool) -> None:  # noqa: FBT001
        start = not change and form.cleaned_data.get("start_now", False)
        stored = configuring.store(obj, form.look, start=start)
        if stored.said:
            level = messages.WARNING if stored.needs_restart else messages.INFO
            self.message_user(request, stored.said, level)

    def response_add(
        self, request: HttpRequest, obj: LocalModel, post_url_continue: Any = None
    ) -> HttpResponse:
        """To where it can be seen to come."""
        response = super().response_add(request, obj, post_url_continue)
        if "_addanother" in request.POST or "_continue" in request.POST or "_popup" in request.POST:
            return response
        response["Location"] = reverse("admin:inference_localmodel_change", args=[obj.pk])
        return response

    def delete_model(self, request: HttpRequest, obj: LocalModel) -> None:
        if obj.from_settings:
            self.message_user(request, FROM_SETTINGS, messages.WARNING)
        configuring.remove(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[LocalModel]) -> None:
        for model in queryset:
            self.delete_model(request, model)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """In words: what becomes of its process, its endpoint and its files is no row."""
        chosen = list(objs)
        number = {self.opts.verbose_name_plural: len(chosen)}
        says = gettext(
            "{name}: it is stopped, and its endpoint and its history go. Its files stay on the disk; "
            "to be rid of them, press “Delete files” before."
        )
        told = [says.format(name=model.name) for model in chosen]
        missing = set() if self.has_delete_permission(request) else {self.opts.verbose_name}
        return told, number, missing, []

    # --- A look beforehand

    def get_urls(self) -> list[URLPattern | URLResolver]:  # type: ignore[override]  # the stubs know no resolvers here
        view = self.admin_site.admin_view(self.look_view)
        return [path("look/", view, name="inference_localmodel_look"), *super().get_urls()]

    def look_view(self, request: HttpRequest) -> HttpResponse:
        """What would come of the form as it is filled in: sizes and mistakes, and nothing is stored."""
        if request.method != "POST":
            return JsonResponse({}, status=405, headers={"Allow": "POST"})
        if not (self.has_add_permission(request) or self.has_change_permission(request)):
            raise PermissionDenied
        form = LocalModelForm(request.POST, instance=_edited(request))
        if not form.is_valid() or form.look is None:
            return JsonResponse({"problems": _problems(form)})
        return JsonResponse({"said": form.look.words(form.instance, hosts.alive())})


def _edited(request: HttpRequest) -> LocalModel | None:
    given = request.POST.get("id", "")
    return LocalModel.objects.filter(pk=int(given)).first() if given.isdecimal() else None


def _problems(form: LocalModelForm) -> list[str]:
    return [str(said) for mistakes in form.errors.as_data().values() for error in mistakes for said in error]
