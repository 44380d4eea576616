"""Keys, limits, prices and usage over REST."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status, viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import NotAuthenticated, PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.response import Response
from rest_framework.views import APIView

from ollaproject.wire import rest, roles
from proxy.access import keys
from proxy.access.rest_auth import KeyAuth
from proxy.api_shapes import (
    IssuedSerializer,
    KeySerializer,
    MeSerializer,
    PersonLimitsSerializer,
    PriceSerializer,
    RotateSerializer,
    TeamLimitsSerializer,
    UsageSerializer,
)
from proxy.models import ApiKey, ModelPrice, PersonLimits, TeamLimits
from proxy.reports import usage_csv, usage_question, usage_report

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpResponse
    from rest_framework.request import Request
    from rest_framework.serializers import BaseSerializer

    from proxy.access.key_table import Holder
    from proxy.models import UsageTotal
    from proxy.reports.usage_report import Asked

    KeyViews = viewsets.ModelViewSet[ApiKey]
    PriceViews = viewsets.ModelViewSet[ModelPrice]
    TeamLimitsViews = viewsets.ModelViewSet[TeamLimits]
    PersonLimitsViews = viewsets.ModelViewSet[PersonLimits]
else:
    # Generic for the type checker only.
    KeyViews = PriceViews = TeamLimitsViews = PersonLimitsViews = viewsets.ModelViewSet

QUESTION = [
    OpenApiParameter("since", OpenApiTypes.DATE, description="The first day, UTC. 30 days ago if left out."),
    OpenApiParameter("until", OpenApiTypes.DATE, description="The last day. Today if left out."),
    OpenApiParameter(
        "group_by",
        OpenApiTypes.STR,
        description=f"Words of {', '.join(usage_report.GROUPS)}, separated by commas.",
    ),
    *(
        OpenApiParameter(name, OpenApiTypes.STR, description=f"Only this {name}.")
        for name in usage_report.FILTERS
    ),
    OpenApiParameter(
        "as", OpenApiTypes.STR, enum=["json", "csv"], description="`csv` for a table of the same."
    ),
]


class Known(BasePermission):
    """Whoever has signed in or sent a key."""

    def has_permission(self, request: Request, view: APIView) -> bool:  # noqa: ARG002
        return bool(request.user.is_authenticated) or isinstance(request.auth, KeyAuth)


class KeyViewSet(KeyViews):
    """API keys. Deleting one revokes it: what was used with it stays on record."""

    queryset = ApiKey.objects.select_related("owner", "team").order_by("name")
    serializer_class = KeySerializer
    lookup_value_regex = "[0-9]+"

    @extend_schema(responses={201: IssuedSerializer})
    def create(self, request: Request, *_args: Any, **_kwargs: Any) -> Response:
        """Make a key. Its secret is in this answer and in no other."""
        serializer = KeySerializer(data=request.data, context=self.get_serializer_context())
        serializer.is_valid(raise_exception=True)
        serializer.save()
        body = {**serializer.data, "secret": serializer.plain}
        return Response(body, status=status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})

    def perform_update(self, serializer: BaseSerializer[ApiKey]) -> None:
        self._must_be_theirs(self.get_object())
        serializer.save()

    def perform_destroy(self, instance: ApiKey) -> None:
        keys.revoke(key=instance)

    def _must_be_theirs(self, key: ApiKey) -> None:
        if not keys.may_hold(self.request.user, key):
            raise PermissionDenied(keys.NOT_THEIRS)

    @extend_schema(request=RotateSerializer, responses=IssuedSerializer)
    @action(detail=True, methods=["post"], permission_classes=[rest.ChangePermissions])
    def rotate(self, request: Request, pk: str) -> Response:  # noqa: ARG002
        """Give it another secret, which is in this answer and in no other."""
        asked = RotateSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        grace = timedelta(hours=asked.validated_data["grace_hours"])
        key = self.get_object()
        self._must_be_theirs(key)
        issued = keys.rotate(key=key, grace=grace)
        body = {**self.get_serializer(issued.key).data, "secret": issued.plain}
        return Response(body, headers={"Cache-Control": "no-store"})

    @extend_schema(request=None, responses=KeySerializer)
    @action(detail=True, methods=["post"], permission_classes=[rest.ChangePermissions])
    def revoke(self, request: Request, pk: str) -> Response:  # noqa: ARG002
        """Close it for good, everywhere within a second."""
        keys.revoke(key=self.get_object())
        return Response(self.get_serializer(self.get_object()).data)


class PriceViewSet(PriceViews):
    """What a million tokens cost, by pattern of the model's name."""

    queryset = ModelPrice.objects.order_by("pattern")
    serializer_class = PriceSerializer
    lookup_value_regex = "[0-9]+"


class TeamLimitsViewSet(TeamLimitsViews):
    """What the keys of a team may use together. A team without has what OLLA_TEAM_LIMITS says."""

    queryset = TeamLimits.objects.select_related("team").order_by("team__name")
    serializer_class = TeamLimitsSerializer
    lookup_value_regex = "[0-9]+"


class PersonLimitsViewSet(PersonLimitsViews):
    """What the keys that a person owns may use together. Who has none has what OLLA_PERSON_LIMITS says."""

    queryset = PersonLimits.objects.select_related("person").order_by("person__username")
    serializer_class = PersonLimitsSerializer
    lookup_value_regex = "[0-9]+"


class MeView(APIView):
    permission_classes = (Known,)

    @extend_schema(responses=MeSerializer)
    def get(self, request: Request) -> Response:
        """Who is calling, and what they may."""
        holder = _holder(request)
        user = request.user if request.user.is_authenticated else None
        key = ApiKey.objects.select_related("owner", "team").get(pk=holder.id) if holder else None
        me = {
            "user": user.get_username() if user else None,
            "teams": sorted(roles.teams_of(user).values_list("name", flat=True)) if user else [],
            "roles": roles.roles_of(user) if user else [],
            "key": key,
            "permissions": sorted(user.get_all_permissions()) if user and holder is None else [],
        }
        return Response(MeSerializer(me).data)


class MyUsageView(APIView):
    permission_classes = (Known,)

    @extend_schema(parameters=QUESTION, responses=UsageSerializer)
    def get(self, request: Request) -> HttpResponse:
        """What you have used, with all your keys; a key that may not act for you: what it has used."""
        return _answer(request, usage_report.own(request.user, key=_key_alone(request)))


class UsageView(APIView):
    permission_classes = (Known,)

    @extend_schema(parameters=QUESTION, responses=UsageSerializer)
    def get(self, request: Request) -> HttpResponse:
        """What all whom you may see have used: you, your teams as their lead, or everyone."""
        key = _key_alone(request)
        if key is not None:
            return _answer(request, usage_report.own(request.user, key=key))
        if not request.user.is_authenticated:
            raise NotAuthenticated
        return _answer(request, usage_report.visible_to(request.user))


def _holder(request: Request) -> Holder | None:
    return request.auth.holder if isinstance(request.auth, KeyAuth) else None


def _key_alone(request: Request) -> Holder | None:
    """The key that asks for nobody but itself."""
    auth = request.auth
    return auth.holder if isinstance(auth, KeyAuth) and not auth.acts_for_owner else None


def _answer(request: Request, among: QuerySet[UsageTotal]) -> HttpResponse:
    rest.only(request.query_params, [each.name for each in QUESTION], "parameter")
    asked: Asked = usage_question.read(request.query_params)
    lines = usage_report.report(asked, among)
    if request.query_params.get("as") == "csv":
        return usage_csv.response(asked, lines)
    body = {
        "since": asked.since,
        "until": asked.until,
        "group_by": asked.groups,
        "total": usage_report.whole(lines),
        "usage": lines,
    }
    return Response(UsageSerializer(body).data)
