"""The door's pages: the playground, requests."""

from __future__ import annotations

from django.urls import path

from proxy import playground, request_pages

urlpatterns = [
    path("playground/", playground.page, name="playground"),
    path("requests/", request_pages.listing, name="requests"),
    path("requests/<str:request_id>/", request_pages.detail, name="request"),
]
