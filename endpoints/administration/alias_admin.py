"""Model aliases in the admin: a name, the models behind it in order, and what it adds to requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import JSONField
from django.utils.translation import gettext_lazy as _

from endpoints.administration.form_fields import ParametersField
from endpoints.aliases import aliases
from endpoints.models import AliasedModel, ModelAlias

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest

    AliasedModelInlineBase = admin.TabularInline[AliasedModel, ModelAlias]
    ModelAliasAdminBase = admin.ModelAdmin[ModelAlias]
else:
    AliasedModelInlineBase = admin.TabularInline  # generic for the type checker only
    ModelAliasAdminBase = admin.ModelAdmin


class AliasedModelInline(AliasedModelInlineBase):
    model = AliasedModel
    extra = 1
    min_num = 1
    validate_min = True
    verbose_name_plural = _("models, the first that can be served is used")

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """The head of a column is no label: screen readers need one on each field."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None:
            field.widget.attrs["aria-label"] = str(db_field.verbose_name)
        return field


@admin.register(ModelAlias)
class ModelAliasAdmin(ModelAliasAdminBase):
    list_display = ["name", "in_order", "strategy"]
    fields = ["name", "strategy", "defaults", "overrides"]
    search_fields = ["name", "models__model"]
    inlines = [AliasedModelInline]
    formfield_overrides = {JSONField: {"form_class": ParametersField}}

    def get_queryset(self, request: HttpRequest) -> QuerySet[ModelAlias]:
        return super().get_queryset(request).prefetch_related("models")

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:  # noqa: FBT001
        super().save_related(request, form, formsets, change)
        aliases.record(form.instance, "changed" if change else "added")

    def delete_model(self, request: HttpRequest, obj: ModelAlias) -> None:  # noqa: ARG002
        aliases.delete([obj])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ModelAlias]) -> None:  # noqa: ARG002
        aliases.delete(queryset)

    @admin.display(description=_("models"))
    def in_order(self, alias: ModelAlias) -> str:
        return aliases.in_order(one.model for one in alias.models.all())
