"""People and groups in the admin: Django's forms, with rights told in the reader's language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.contrib.auth import admin as django_admin
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.forms import ModelMultipleChoiceField
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ollaproject.wire import roles

if TYPE_CHECKING:
    from django.db.models import ManyToManyField, QuerySet
    from django.http import HttpRequest

# What Django makes for every table.
WORDS: Final = {
    "add": _("Can add %(name)s"),
    "change": _("Can change %(name)s"),
    "delete": _("Can delete %(name)s"),
    "view": _("Can view %(name)s"),
}


def told(right: Permission) -> str:
    """A permission in words: `Can view endpoint`."""
    action, _separator, table = right.codename.partition("_")
    model = right.content_type.model_class()
    if model is None or action not in WORDS or table != right.content_type.model:
        return gettext(right.name)
    return str(WORDS[action] % {"name": model._meta.verbose_name})


def rights() -> QuerySet[Permission]:
    """Those that something asks for: of tables with pages in the admin, and of what keys keep."""
    asked = ContentType.objects.get_for_models(*admin.site._registry).values()
    found = Permission.objects.filter(content_type__in=asked)
    app, _dot, codename = roles.READ_BODIES.partition(".")
    found |= Permission.objects.filter(content_type__app_label=app, codename=codename)
    return found.select_related("content_type")


class Rights(ModelMultipleChoiceField):  # type: ignore[type-arg]  # it takes none when it runs
    def label_from_instance(self, obj: Any) -> str:
        return told(obj)


class ToldRights:
    """For an admin of something that has permissions."""

    def formfield_for_manytomany(
        self, db_field: ManyToManyField[Any, Any], request: HttpRequest | None = None, **kwargs: Any
    ) -> Any:
        if db_field.related_model is Permission:
            kwargs |= {"queryset": rights(), "form_class": Rights}
        return super().formfield_for_manytomany(db_field, request, **kwargs)  # type: ignore[misc]


# Importing django_admin has registered Django's own.
admin.site.unregister([User, Group])


@admin.register(User)
class UserAdmin(ToldRights, django_admin.UserAdmin):  # type: ignore[type-arg]  # the same
    pass


@admin.register(Group)
class GroupAdmin(ToldRights, django_admin.GroupAdmin):
    pass
