"""The fleet's pages: the dashboard, the part of it that is fetched again at every change, and its buttons."""

from __future__ import annotations

from django.urls import path

from endpoints import dashboard

urlpatterns = [
    path("", dashboard.page, name="dashboard"),
    path("endpoints/fleet/", dashboard.fragment, name="dashboard-fleet"),
    path("endpoints/<int:endpoint_id>/<str:action>/", dashboard.act, name="endpoint-action"),
]
