"""The engine's part of `/api/`."""

from __future__ import annotations

from rest_framework.routers import SimpleRouter

from inference.api import LocalModelViewSet, ModelHostViewSet

router = SimpleRouter()
router.register("local-models", LocalModelViewSet)
router.register("model-hosts", ModelHostViewSet)

urlpatterns = router.urls
