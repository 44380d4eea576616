"""The door's part of `/api/`."""

from __future__ import annotations

from django.urls import path
from rest_framework.routers import SimpleRouter

from proxy.api import (
    KeyViewSet,
    MeView,
    MyUsageView,
    PersonLimitsViewSet,
    PriceViewSet,
    TeamLimitsViewSet,
    UsageView,
)

router = SimpleRouter()
router.register("keys", KeyViewSet)
router.register("person-limits", PersonLimitsViewSet)
router.register("prices", PriceViewSet)
router.register("team-limits", TeamLimitsViewSet)

urlpatterns = [
    path("me/", MeView.as_view(), name="me"),
    path("me/usage/", MyUsageView.as_view(), name="my-usage-api"),
    path("usage/", UsageView.as_view(), name="usage-api"),
    *router.urls,
]
