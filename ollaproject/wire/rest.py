"""What every room's part of the REST API has in common: errors in OpenAI's shape, permissions, paging."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NoReturn

from django.core.exceptions import PermissionDenied
from django.core.exceptions import ValidationError as DjangoValidationError
from django.http import Http404, JsonResponse
from rest_framework import exceptions, filters, pagination, permissions
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from ollaproject.wire.openai_errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from django.db.models import QuerySet
    from django.http import HttpRequest
    from rest_framework.request import Request

    SerializerBase = Serializer[Any]
else:
    SerializerBase = Serializer

INVALID = "invalid"
NO_FIELD = "non_field_errors"


ONLY_MODELS = "This key may call models and read its own usage, but not act for its owner."


class ModelPermissions(permissions.DjangoModelPermissions):
    """Django's permissions, also for reading: whoever may see endpoints in the admin may read them here.

    What authenticated a request may say, by `acts_for_owner`, that it does not stand for that person.
    """

    perms_map = {
        **permissions.DjangoModelPermissions.perms_map,
        "GET": ["%(app_label)s.view_%(model_name)s"],
        "HEAD": ["%(app_label)s.view_%(model_name)s"],
    }

    def has_permission(self, request: Request, view: Any) -> bool:
        if not getattr(request.auth, "acts_for_owner", True):
            raise exceptions.PermissionDenied(ONLY_MODELS)
        return super().has_permission(request, view)


class ChangePermissions(ModelPermissions):
    """For calls that change what is there and add nothing: as the buttons, they need no right to add."""

    perms_map = {**ModelPermissions.perms_map, "POST": ["%(app_label)s.change_%(model_name)s"]}


class Pages(pagination.PageNumberPagination):
    """`?page=2&page_size=50`."""

    page_size = 100
    page_size_query_param = "page_size"
    max_page_size = 1000


class StrictSerializer(SerializerBase):
    """Refuses what it does not know: a misspelt field must not look as if it had been set."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            only(data, self._writable(), "field")
        return super().to_internal_value(data)

    def _writable(self) -> list[str]:
        return [name for name, field in self.fields.items() if not field.read_only]


class Query(StrictSerializer):
    """What may stand in the query string of a call. For a list, `source` is what its rows are asked for."""


class ListFilters(filters.BaseFilterBackend):
    """Narrows a list by its view's `filters`, a Query. A misspelt filter must not give everything."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        if view.action != "list":
            return queryset
        asked = read_query(request, getattr(view, "filters", Query), "page", Pages.page_size_query_param)
        return queryset.filter(**asked)


def read_query(request: Request, kind: type[Query], *others: str) -> dict[str, Any]:
    """What the query string says. Raises ValidationError for what is neither in `kind` nor among `others`.

    An empty filter is as none.
    """
    query = kind()
    given = request.query_params.dict()
    only(given, [*query.fields, *others], "parameter")
    said = kind(data={name: value for name, value in given.items() if value and name in query.fields})
    said.is_valid(raise_exception=True)
    found: dict[str, Any] = said.validated_data
    return found


def only(given: Iterable[str], known: Sequence[str], kind: str) -> None:
    """Raises ValidationError that names what of `given` is not `known`, a `kind` of thing."""
    if unknown := sorted(set(given) - set(known)):
        message = f"This {kind} is not known. Known {kind}s: {', '.join(known)}."
        raise exceptions.ValidationError(dict.fromkeys(unknown, message))


def refuse(mistakes: DjangoValidationError, names: Mapping[str, str]) -> NoReturn:
    """Raise a model's mistakes as this API's, under the names that its fields have here."""
    by_field = mistakes.message_dict if hasattr(mistakes, "error_dict") else {NO_FIELD: mistakes.messages}
    raise exceptions.ValidationError({names.get(name, name): said for name, said in by_field.items()})


def handle_exception(error: Exception, _context: Mapping[str, Any]) -> Response | None:
    """REST framework's EXCEPTION_HANDLER. None is a fault of ours, which Django logs and answers with 500."""
    if isinstance(error, ApiError):
        return Response(error.body(), status=error.status, headers=error.headers)
    if isinstance(error, Http404):
        error = exceptions.NotFound("There is nothing here. /api/docs/ lists what there is.")
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    if not isinstance(error, exceptions.APIException):
        return None
    headers = {}
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = str(int(wait) + 1)
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    return Response(_body(error), status=error.status_code, headers=headers)


def not_found(_request: HttpRequest) -> JsonResponse:
    """For paths below /api/ that lead nowhere: JSON, as everywhere below it."""
    message = "There is nothing here. /api/docs/ lists what there is."
    return JsonResponse(ApiError(404, "not_found", message).body(), status=HTTPStatus.NOT_FOUND)


def _body(error: exceptions.APIException) -> dict[str, Any]:
    if not isinstance(error, exceptions.ValidationError):
        code = str(error.get_codes())
        return dict(ApiError(error.status_code, code, str(error.detail)).body())
    fields = {name: said for name, said in _flat(error.detail, "").items() if said}
    first = next(iter(fields), None)
    said = " ".join(f"{name}: {' '.join(one)}" if name else " ".join(one) for name, one in fields.items())
    body: dict[str, Any] = dict(ApiError(error.status_code, INVALID, said, param=first or None).body())
    body["error"]["fields"] = {name or NO_FIELD: one for name, one in fields.items()}
    return body


def _flat(detail: Any, path: str) -> dict[str, list[str]]:
    """Nested mistakes by the path to their field, such as `auth.type`."""
    if isinstance(detail, dict):
        found: dict[str, list[str]] = {}
        for name, inner in detail.items():
            where = path if name == NO_FIELD else f"{path}.{name}" if path else str(name)
            for key, said in _flat(inner, where).items():
                found.setdefault(key, []).extend(said)
        return found
    if isinstance(detail, list):
        return {path: [str(one) for one in detail]}
    return {path: [str(detail)]}
