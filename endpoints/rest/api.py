"""The fleet over REST: thin ways to the same rules that the admin and the commands use."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.response import Response

from endpoints import operations
from endpoints.aliases import aliases
from endpoints.choices import Mode, Status
from endpoints.models import Change, Endpoint, HealthCheck, ModelAlias
from endpoints.past import archive, changes, history
from endpoints.rest.api_hosts import MaintenanceSerializer
from endpoints.rest.api_shapes import ChangeSerializer, CheckSerializer, IncidentSerializer, UptimeSerializer
from endpoints.rest.serializers import AliasSerializer, EndpointSerializer
from ollaproject.wire import rest
from ollaproject.wire.clock import now

if TYPE_CHECKING:
    from collections.abc import Callable

    from rest_framework.request import Request

    EndpointViews = viewsets.ModelViewSet[Endpoint]
    AliasViews = viewsets.ModelViewSet[ModelAlias]
    ChangeViews = viewsets.GenericViewSet[Change]
else:
    EndpointViews = AliasViews = viewsets.ModelViewSet  # generic for the type checker only
    ChangeViews = viewsets.GenericViewSet

UPTIME_DAYS = (1, 7, 30, 90)
CHECKS_SHOWN = 100
INCIDENT_DAYS = 90


class EndpointFilters(rest.Query):
    name = serializers.CharField(required=False, help_text="Exactly this name.")
    type = serializers.CharField(required=False, help_text="A backend type, such as `vllm-mlx`.")
    mode = serializers.ChoiceField(Mode.choices, required=False, help_text="What the operator wants of it.")
    status = serializers.ChoiceField(
        Status.choices, source="health__status", required=False, help_text="What the checks say of it."
    )
    model = serializers.CharField(source="models__name", required=False, help_text="Serves this model.")


class EndpointViewSet(EndpointViews):
    """The servers of models behind this gateway."""

    queryset = Endpoint.objects.select_related("health").prefetch_related("models").order_by("name")
    serializer_class = EndpointSerializer
    filters = EndpointFilters
    lookup_value_regex = "[0-9]+"

    @extend_schema(parameters=[EndpointFilters])
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """All endpoints, by name. Filters may be combined."""
        return super().list(request, *args, **kwargs)

    def perform_destroy(self, instance: Endpoint) -> None:
        changes.delete([instance])

    @extend_schema(request=None, responses=EndpointSerializer)
    @action(detail=True, methods=["post"], permission_classes=[rest.ChangePermissions])
    def activate(self, request: Request, pk: str) -> Response:  # noqa: ARG002
        """Put it in service. It is checked at once."""
        return self._operated(operations.activate)

    @extend_schema(request=None, responses=EndpointSerializer)
    @action(detail=True, methods=["post"], permission_classes=[rest.ChangePermissions])
    def drain(self, request: Request, pk: str) -> Response:  # noqa: ARG002
        """Let running requests finish and send no new ones."""
        return self._operated(operations.drain)

    @extend_schema(request=None, responses=EndpointSerializer)
    @action(detail=True, methods=["post"], permission_classes=[rest.ChangePermissions])
    def pause(self, request: Request, pk: str) -> Response:  # noqa: ARG002
        """Send it no requests and no checks."""
        return self._operated(operations.pause)

    @extend_schema(request=MaintenanceSerializer, responses=EndpointSerializer)
    @action(detail=True, methods=["post"], permission_classes=[rest.ChangePermissions])
    def maintain(self, request: Request, pk: str) -> Response:  # noqa: ARG002
        """Pause it until a time. It comes back into service by itself."""
        asked = MaintenanceSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        return self._operated(partial(operations.maintain, until=asked.validated_data["until"]))

    @extend_schema(request=None, responses={202: EndpointSerializer})
    @action(detail=True, methods=["post"], permission_classes=[rest.ChangePermissions])
    def check(self, request: Request, pk: str) -> Response:  # noqa: ARG002
        """Check it now. The result is there within seconds: read the endpoint again."""
        endpoint = self.get_object()
        operations.check_now([endpoint])
        return Response(self.get_serializer(endpoint).data, status=status.HTTP_202_ACCEPTED)

    @extend_schema(responses=CheckSerializer(many=True))
    @action(detail=True, pagination_class=None)
    def checks(self, request: Request, pk: str) -> Response:  # noqa: ARG002
        """Its latest checks, the newest first."""
        found = HealthCheck.objects.filter(endpoint=self.get_object())[:CHECKS_SHOWN]
        return Response(CheckSerializer(found, many=True).data)

    @extend_schema(responses=IncidentSerializer(many=True))
    @action(detail=True, pagination_class=None)
    def incidents(self, request: Request, pk: str) -> Response:  # noqa: ARG002
        """When it failed in the last 90 days, and why. The newest first; `end` is null while it lasts."""
        endpoint = self.get_object()
        flips = archive.flips([endpoint.pk], since=now() - timedelta(days=INCIDENT_DAYS))
        return Response(IncidentSerializer(history.incidents(flips.get(endpoint.pk, ())), many=True).data)

    @extend_schema(responses=UptimeSerializer(many=True))
    @action(detail=True, pagination_class=None)
    def uptime(self, request: Request, pk: str) -> Response:  # noqa: ARG002
        """How much of the last 1, 7, 30 and 90 days it was up. `share` is null when nothing is known."""
        endpoint, end = self.get_object(), now()
        start = end - timedelta(days=max(UPTIME_DAYS))
        flips = archive.flips([endpoint.pk], since=start).get(endpoint.pk, [])
        past = history.stretches(flips, start=start, end=end)
        rows = [
            (days, history.uptime(past, start=end - timedelta(days=days), end=end)) for days in UPTIME_DAYS
        ]
        shown = [{"days": days, "share": one.share, "down_seconds": one.down_seconds} for days, one in rows]
        return Response(UptimeSerializer(shown, many=True).data)

    @extend_schema(responses=ChangeSerializer(many=True))
    @action(detail=True, pagination_class=None)
    def changes(self, request: Request, pk: str) -> Response:  # noqa: ARG002
        """Who changed what of it, the newest first."""
        kind = Endpoint._meta.verbose_name_raw
        found = Change.objects.filter(kind=kind, subject_id=self.get_object().pk)[:CHECKS_SHOWN]
        return Response(ChangeSerializer(found, many=True).data)

    def _operated(self, operation: Callable[..., None]) -> Response:
        operation(endpoint=self.get_object())
        return Response(self.get_serializer(self.get_object()).data)


class AliasViewSet(AliasViews):
    """Names under which clients reach the first of some models that can be served."""

    queryset = ModelAlias.objects.prefetch_related("models").order_by("name")
    serializer_class = AliasSerializer
    lookup_value_regex = "[0-9]+"

    def perform_destroy(self, instance: ModelAlias) -> None:
        aliases.delete([instance])


class ChangeViewSet(mixins.ListModelMixin, ChangeViews):
    """Who changed what of the fleet, the newest first. No secret is in it."""

    queryset = Change.objects.all()
    serializer_class = ChangeSerializer
    permission_classes = (rest.ModelPermissions,)
