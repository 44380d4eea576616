"""The door's pages: models, the playground, requests, usage."""

from __future__ import annotations

from django.urls import path

from proxy.access import oidc
from proxy.pages import endpoint_traffic, figure_pages, key_pages, model_pages, playground, request_pages
from proxy.reports import usage_pages

urlpatterns = [
    path("oidc/authenticate/", oidc.BeginView.as_view(), name="oidc_authentication_init"),
    path("oidc/callback/", oidc.CallbackView.as_view(), name="oidc_authentication_callback"),
    path("figures/", figure_pages.figures, name="figures"),
    path("traffic/<int:endpoint_id>/", endpoint_traffic.traffic, name="endpoint-traffic"),
    path("traffic/<int:endpoint_id>/first-byte/", endpoint_traffic.first_byte, name="endpoint-first-byte"),
    path("models/", model_pages.listing, name="models"),
    path("models/<path:name>/", model_pages.detail, name="model"),
    path("playground/", playground.page, name="playground"),
    path("requests/", request_pages.listing, name="requests"),
    path("requests/<str:request_id>/", request_pages.detail, name="request"),
    path("usage/", usage_pages.page, name="usage"),
    path("usage/table/", usage_pages.table, name="usage-table"),
    path("usage/keys/", key_pages.make, name="key-make"),
    path("usage/teams/<int:team_id>/keys/", key_pages.make_for_member, name="team-key-make"),
    path("usage/keys/<int:key_id>/rotate/", key_pages.rotate, name="key-rotate"),
    path("usage/keys/<int:key_id>/revoke/", key_pages.revoke, name="key-revoke"),
]
