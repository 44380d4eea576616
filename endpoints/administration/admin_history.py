"""What the admin shows of what happened: nobody adds, changes or deletes it, and no list reads all of it.

Such tables have a million rows. So lists count no further than MOST_COUNTED, filters offer what the fleet
knows now and not each value that any row has, and where there is no index there is no filter.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Q
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.models import QuerySet
    from django.http import HttpRequest

    PaginatorBase = Paginator[Any]
else:
    PaginatorBase = Paginator  # generic for the type checker only

MOST_COUNTED: Final = 10_000
NO_NAME: Final = "-"


class AtLeast(int):
    """A number of rows beyond which nobody has counted. The admin's templates write it as it says itself."""

    def __str__(self) -> str:
        return f"{int(self):,}+"


class ShortCount(PaginatorBase):
    """Ends after MOST_COUNTED rows: whoever looks for older ones filters."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        found: int = rows.order_by()[:MOST_COUNTED].count()
        return found if found < MOST_COUNTED else AtLeast(found)


class ToLookAt:
    """A mixin for a ModelAdmin. `exactly` are fields whose whole value is searched for."""

    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # they count every value of every filter
    paginator: Any = ShortCount
    exactly: ClassVar[tuple[str, ...]] = ()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not self.exactly:
            found: tuple[QuerySet[Any], bool] = super().get_search_results(  # type: ignore[misc]
                request, queryset, search_term
            )
            return found
        parts = self.search_parts(search_term.strip())
        return (queryset.filter(reduce(or_, parts)) if search_term.strip() else queryset), False

    def search_parts(self, term: str) -> list[Q]:
        return [Q(**{name: term}) for name in self.exactly]

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False


class NameFilter(admin.SimpleListFilter):
    """By a name: those that `names` gives are offered, and the URL may ask for any other."""

    def names(self) -> Iterable[str]:
        raise NotImplementedError

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:  # noqa: ARG002
        return [*((name, name) for name in self.names()), (NO_NAME, _("none"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:  # noqa: ARG002
        value, name = self.value(), str(self.parameter_name)
        if value is None:
            return queryset
        return queryset.filter(**{name: "" if value == NO_NAME else value})
