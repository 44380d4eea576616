"""Local models over REST: thin ways to the same rules and buttons as on the pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.response import Response

from inference.api_shapes import (
    EventSerializer,
    HostSerializer,
    LocalModelSerializer,
    LogSerializer,
    shown_log,
)
from inference.local import buttons, configuring, hosts, logs, record
from inference.local.choices import State
from inference.models import LocalModel, LocalModelEvent, ModelHost
from ollaproject.wire import rest

if TYPE_CHECKING:
    from rest_framework.request import Request

    LocalModelViews = viewsets.ModelViewSet[LocalModel]
    HostViews = viewsets.GenericViewSet[ModelHost]
else:
    LocalModelViews = viewsets.ModelViewSet  # generic for the type checker only
    HostViews = viewsets.GenericViewSet

EVENTS_SHOWN = 100


class LocalModelFilters(rest.Query):
    state = serializers.ChoiceField(
        State.choices, source="status__state", required=False, help_text="Only those in this state."
    )


class LogQuery(rest.Query):
    lines = serializers.IntegerField(
        default=logs.TAIL_LINES,
        min_value=1,
        help_text=f"How many of the last lines, {logs.TAIL_LINES} at most.",
    )


class LocalModelViewSet(LocalModelViews):
    """The models that machines of ours serve themselves. Deleting one leaves its files."""

    queryset = LocalModel.objects.select_related("status").order_by("name")
    serializer_class = LocalModelSerializer
    filters = LocalModelFilters
    lookup_value_regex = "[0-9]+"
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]

    def get_permissions(self) -> Any:
        return super().get_permissions() if self.action == "create" else [rest.ChangePermissions()]

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "machines": hosts.alive()}

    @extend_schema(parameters=[LocalModelFilters])
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """All local models, by name."""
        return super().list(request, *args, **kwargs)

    def perform_destroy(self, instance: LocalModel) -> None:
        configuring.remove(instance)

    @extend_schema(request=None, responses={202: LocalModelSerializer})
    @action(detail=True, methods=["post"])
    def start(self, request: Request, pk: str) -> Response:  # noqa: ARG002
        """Download what is missing, load it, and serve it. After a failure: try again."""
        return self._pressed("start")

    @extend_schema(request=None, responses={202: LocalModelSerializer})
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, pk: str) -> Response:  # noqa: ARG002
        """Let running answers finish, then stop it. A download goes on from there later."""
        return self._pressed("stop")

    @extend_schema(request=None, responses={202: LocalModelSerializer})
    @action(detail=True, methods=["post"])
    def restart(self, request: Request, pk: str) -> Response:  # noqa: ARG002
        """Stop it and start it with what is configured now."""
        return self._pressed("restart")

    @extend_schema(request=None, responses={202: LocalModelSerializer})
    @action(detail=True, methods=["post"])
    def unload(self, request: Request, pk: str) -> Response:  # noqa: ARG002
        """Give its memory back. It stays listed, and is loaded when it is asked for."""
        return self._pressed("unload")

    @extend_schema(request=None, responses={202: LocalModelSerializer})
    @action(detail=True, methods=["post"])
    def download(self, request: Request, pk: str) -> Response:  # noqa: ARG002
        """Have its files here, without starting it."""
        return self._pressed("download")

    @extend_schema(request=None, responses={202: LocalModelSerializer})
    @action(detail=True, methods=["post"], url_path="update", url_name="look-for-update")
    def fetch_update(self, request: Request, pk: str) -> Response:  # noqa: ARG002
        """Have it run with what its revision is now. What runs serves until the new one does."""
        return self._pressed("update")

    @extend_schema(request=None, responses={202: LocalModelSerializer})
    @action(detail=True, methods=["post"], url_path="delete-files")
    def delete_files(self, request: Request, pk: str) -> Response:  # noqa: ARG002
        """Stop it and delete what was downloaded for it. A folder that a person gave stays."""
        return self._pressed("delete-files")

    @extend_schema(parameters=[LogQuery], responses=LogSerializer)
    @action(detail=True)
    def log(self, request: Request, pk: str) -> Response:  # noqa: ARG002
        """The last lines of its server's log, or of its download's. No prompt is in it."""
        lines = min(rest.read_query(request, LogQuery)["lines"], logs.TAIL_LINES)
        return Response(LogSerializer(shown_log(self.get_object(), lines)).data)

    @extend_schema(responses=EventSerializer(many=True))
    @action(detail=True, pagination_class=None)
    def events(self, request: Request, pk: str) -> Response:  # noqa: ARG002
        """Its changes of state, the newest first."""
        found = LocalModelEvent.objects.filter(model=self.get_object())[:EVENTS_SHOWN]
        return Response(EventSerializer(found, many=True).data)

    def _pressed(self, name: str) -> Response:
        """What makes no sense now changes nothing: the answer says how it is."""
        model = self.get_object()
        buttons.press(name, [(model, record.status_of(model))])
        return Response(self.get_serializer(self.get_object()).data, status=status.HTTP_202_ACCEPTED)


class ModelHostViewSet(mixins.ListModelMixin, HostViews):
    """The machines that run local models, and how much memory they have free."""

    queryset = ModelHost.objects.order_by("name")
    serializer_class = HostSerializer
