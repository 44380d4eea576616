"""The fleet's part of `/api/`."""

from __future__ import annotations

from django.urls import path
from rest_framework.routers import SimpleRouter

from endpoints.rest.api import AliasViewSet, ChangeViewSet, EndpointViewSet
from endpoints.rest.api_alerts import AlertChannelViewSet, AlertDeliveryViewSet
from endpoints.rest.api_files import ExportView, ImportView
from endpoints.rest.api_hosts import HostView

router = SimpleRouter()
router.register("endpoints", EndpointViewSet)
router.register("aliases", AliasViewSet)
router.register("changes", ChangeViewSet)
router.register("alert-channels", AlertChannelViewSet)
router.register("alert-deliveries", AlertDeliveryViewSet)

urlpatterns = [
    path("export/", ExportView.as_view(), name="export"),
    path("hosts/<str:host>/", HostView.as_view(), name="host"),
    path("import/", ImportView.as_view(), name="import"),
    *router.urls,
]
