"""The engine's pages: local models. Their live parts are fetched again at every change."""

from __future__ import annotations

from django.urls import path

from inference.local import pages

urlpatterns = [
    path("models/local/", pages.page, name="local-models"),
    path("models/local/now/", pages.fragment, name="local-models-now"),
    path("models/local/<int:model_id>/", pages.one, name="local-model"),
    path("models/local/<int:model_id>/now/", pages.one_fragment, name="local-model-now"),
    path("models/local/<int:model_id>/<str:action>/", pages.act, name="local-model-action"),
]
