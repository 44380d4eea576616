"""The fleet's pages: the dashboard, one endpoint, incidents. Of the live ones, also the part that changes."""

from __future__ import annotations

from django.urls import path

from endpoints.pages import charts, dashboard, endpoint_page, incidents, status_page

urlpatterns = [
    path("", dashboard.page, name="dashboard"),
    path("endpoints/fleet/", dashboard.fragment, name="dashboard-fleet"),
    path("endpoints/<int:endpoint_id>/", endpoint_page.page, name="endpoint"),
    path("endpoints/<int:endpoint_id>/now/", endpoint_page.fragment, name="endpoint-now"),
    path("endpoints/<int:endpoint_id>/latency/", charts.latency, name="endpoint-latency"),
    path("endpoints/<int:endpoint_id>/<str:action>/", dashboard.act, name="endpoint-action"),
    path("endpoints/<int:endpoint_id>/here/<str:action>/", endpoint_page.act, name="endpoint-page-action"),
    path("status/<str:token>/", status_page.show, name="status-page"),
    path("status/<str:token>/badge.svg", status_page.badge_svg, name="status-badge-svg"),
    path("status/<str:token>/badge.json", status_page.badge_json, name="status-badge-json"),
    path("incidents/", incidents.page, name="incidents"),
]
