"""The pages. What clients call, the API, is routed in proxy/routes.py."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth import views as auth_views
from django.contrib.auth.decorators import login_required
from django.urls import include, path, re_path
from django.views.i18n import JavaScriptCatalog, set_language
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from ollaproject.wire import rest


class SignInView(auth_views.LoginView):
    """Django's own, which also says where else one may sign in."""

    redirect_authenticated_user = True

    def get_context_data(self, **context: Any) -> dict[str, Any]:
        provider = settings.OLLA_OIDC_ISSUER and settings.OLLA_OIDC_NAME
        return super().get_context_data(provider=provider, **context)


urlpatterns = [
    path("", include("endpoints.urls")),
    path("", include("inference.urls")),  # before the door's: models/local/ is not a model called local
    path("", include("proxy.urls")),
    path("login/", SignInView.as_view(), name="login"),
    path("logout/", auth_views.LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
    path("language/", set_language, name="language"),
    path("words.js", JavaScriptCatalog.as_view(), name="words"),
    path("api/", include("endpoints.rest.api_urls")),
    path("api/", include("inference.api_urls")),
    path("api/", include("proxy.api_urls")),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", login_required(SpectacularSwaggerSplitView.as_view()), name="api-docs"),
    re_path(r"^api/", rest.not_found),
]
