"""Model aliases in the admin: a name, and the models behind it in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin

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
    verbose_name_plural = "models, the first that can be served is used"


@admin.register(ModelAlias)
class ModelAliasAdmin(ModelAliasAdminBase):
    list_display = ["name", "in_order"]
    search_fields = ["name", "models__model"]
    inlines = [AliasedModelInline]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ModelAlias]:
        return super().get_queryset(request).prefetch_related("models")

    @admin.display(description="models")
    def in_order(self, alias: ModelAlias) -> str:
        return ", then ".join(one.model for one in alias.models.all())
