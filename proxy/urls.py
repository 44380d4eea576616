"""The door's pages: the playground."""

from __future__ import annotations

from django.urls import path

from proxy import playground

urlpatterns = [
    path("playground/", playground.page, name="playground"),
]
