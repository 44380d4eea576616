"""Whole hosts over REST: every endpoint whose URL names a host, drained, paused or put in service at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.http import Http404
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.response import Response
from rest_framework.views import APIView

from endpoints import operations
from endpoints.models import Endpoint
from endpoints.rest.serializers import EndpointSerializer
from ollaproject.wire import rest
from ollaproject.wire.clock import now
from ollaproject.wire.durations import DurationError, parse_until

if TYPE_CHECKING:
    from datetime import datetime

    from rest_framework.request import Request

ACTIONS = ("activate", "drain", "pause", "maintain")


@extend_schema_field({"type": "string", "example": "2h"})
class UntilField(serializers.Field):  # type: ignore[type-arg]
    """A moment to come: `2h`, or a time."""

    def to_internal_value(self, data: Any) -> datetime:
        if not isinstance(data, str):
            raise serializers.ValidationError("Write a time such as 2026-12-01T08:00Z, or for how long: 2h.")
        try:
            return parse_until(data, now=now())
        except DurationError as error:
            raise serializers.ValidationError(str(error)) from None

    def to_representation(self, value: datetime) -> str:
        return value.isoformat()


class MaintenanceSerializer(rest.StrictSerializer):
    until = UntilField(help_text="A time, or for how long from now on: `2h`.")


class OperationSerializer(rest.StrictSerializer):
    action = serializers.ChoiceField(choices=ACTIONS)
    until = UntilField(required=False, help_text="For `maintain`: a time, or for how long: `2h`.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["action"] == "maintain" and "until" not in attrs:
            raise serializers.ValidationError({"until": "Maintenance needs to know until when."})
        return attrs


class HostView(APIView):
    queryset = Endpoint.objects.none()  # whose permissions count
    permission_classes = (rest.ChangePermissions,)

    @extend_schema(
        request=OperationSerializer, responses=EndpointSerializer(many=True), operation_id="hosts_operate"
    )
    def post(self, request: Request, host: str) -> Response:
        """Drain, pause, maintain or activate every endpoint of a host. All of them, or none."""
        found = operations.on_host(host)
        if not found:
            raise Http404
        asked = OperationSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        given = asked.validated_data
        operate = operations.named(given["action"], until=given.get("until"))
        with transaction.atomic():
            for endpoint in found:
                operate(endpoint=endpoint)
        rows = Endpoint.objects.select_related("health").prefetch_related("models")
        shown = rows.filter(pk__in=[each.pk for each in found])
        return Response(EndpointSerializer(shown, many=True).data)
