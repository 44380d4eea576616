"""The fleet as a file, over REST: the YAML of import_endpoints and export_endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response
from rest_framework.views import APIView

from endpoints.errors import EndpointFileError
from endpoints.files import exporting, importing, yaml_io
from endpoints.models import Endpoint
from endpoints.rest.api_shapes import ImportSerializer
from ollaproject.wire import rest

if TYPE_CHECKING:
    from rest_framework.request import Request

    from endpoints.files.importing import Import

YAML = "application/yaml"
PERMISSIONS = ("endpoints.add_endpoint", "endpoints.change_endpoint")


class ExportView(APIView):
    queryset = Endpoint.objects.none()  # whose permissions count
    permission_classes = (rest.ModelPermissions,)

    @extend_schema(responses={(200, YAML): OpenApiTypes.OBJECT})
    def get(self, request: Request) -> HttpResponse:  # noqa: ARG002
        """The whole fleet as an endpoint file. Credentials are not in it."""
        headers = {"Content-Disposition": 'attachment; filename="fleet.yaml"'}
        return HttpResponse(exporting.as_yaml(), content_type=YAML, headers=headers)


class ImportQuery(rest.Query):
    dry_run = serializers.BooleanField(default=False, help_text="Say what would change, write nothing.")
    prune = serializers.BooleanField(
        default=False, help_text="Delete what the file does not name, reset the rest."
    )


class ImportView(APIView):
    queryset = Endpoint.objects.none()
    permission_classes = (rest.ModelPermissions,)
    parser_classes = ()  # the body is read as YAML, whatever it is called

    @extend_schema(
        parameters=[ImportQuery],
        request={YAML: OpenApiTypes.OBJECT},
        responses=ImportSerializer,
    )
    def post(self, request: Request) -> Response:
        """Import an endpoint file: all of it or, when anything in it is wrong, nothing."""
        asked = rest.read_query(request, ImportQuery)
        prune, dry_run = asked["prune"], asked["dry_run"]
        wanted = (*PERMISSIONS, "endpoints.delete_endpoint") if prune else PERMISSIONS
        if not request.user.has_perms(wanted):
            raise PermissionDenied
        try:
            prepared = importing.prepare(
                yaml_io.read_text(request._request.body, name="request"), prune=prune
            )
        except EndpointFileError as error:
            raise ValidationError(error.problems) from None
        if not dry_run:
            importing.store(prepared)
        return Response(ImportSerializer(_told(prepared, written=not dry_run)).data)


def _told(prepared: Import, *, written: bool) -> dict[str, Any]:
    endpoints = [_row(one.endpoint.name, one.outcome, one.differences) for one in prepared.endpoints]
    endpoints += [_row(gone.name, "deleted") for gone in prepared.gone]
    named = [_row(one.name, one.outcome, (one.words,)) for one in prepared.aliases]
    named += [_row(gone.name, "deleted") for gone in prepared.gone_aliases]
    return {"written": written, "endpoints": endpoints, "aliases": named, "left_out": prepared.left_out}


def _row(name: str, outcome: str, differences: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"name": name, "outcome": str(outcome), "differences": differences}
