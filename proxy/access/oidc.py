"""Sign-in with OpenID Connect, where OLLA_OIDC_ISSUER is set: mozilla-django-oidc, told where to go.

Beside what the library checks (state, nonce, PKCE, signature), a token has to be from this issuer, for us, in
time, and of the same person as the userinfo.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import jwt
import requests
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import SuspiciousOperation
from django.http import Http404
from django.shortcuts import redirect
from django.urls import reverse
from mozilla_django_oidc.auth import OIDCAuthenticationBackend
from mozilla_django_oidc.views import OIDCAuthenticationCallbackView, OIDCAuthenticationRequestView

from proxy.access.oidc_people import account_of
from proxy.access.oidc_provider import ProviderError, provider

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.http import HttpRequest, HttpResponseBase

logger = logging.getLogger(__name__)

CLOCKS_APART_SECONDS = 30
TROUBLE = (
    ProviderError,
    requests.RequestException,
    jwt.PyJWTError,
    SuspiciousOperation,
    KeyError,
    ValueError,
)


class Backend(OIDCAuthenticationBackend):  # type: ignore[misc]
    """Asks the provider only when somebody comes back from there: Django makes one at every sign-in."""

    def __init__(self) -> None:
        self.UserModel = get_user_model()
        self.OIDC_RP_CLIENT_ID = settings.OIDC_RP_CLIENT_ID
        self.OIDC_RP_CLIENT_SECRET = settings.OIDC_RP_CLIENT_SECRET
        self.OIDC_RP_SIGN_ALGO = settings.OIDC_RP_SIGN_ALGO
        self.OIDC_RP_IDP_SIGN_KEY = None

    def authenticate(
        self, request: HttpRequest | None, nonce: str = "", code_verifier: str = "", **_others: Any
    ) -> User | None:
        if request is None or not nonce:
            return None
        found = provider()
        self.OIDC_OP_TOKEN_ENDPOINT = found.token
        self.OIDC_OP_USER_ENDPOINT = found.userinfo
        self.OIDC_OP_JWKS_ENDPOINT = found.keys
        user: User | None = super().authenticate(request, nonce=nonce, code_verifier=code_verifier)
        return user

    def get_user(self, user_id: int) -> User | None:
        """The library's own lets a session stand whose person is no longer active."""
        return ModelBackend.get_user(self, user_id)

    def _verify_jws(self, payload: str, key: Any) -> Any:
        return jwt.decode(
            payload,
            key,
            algorithms=[self.OIDC_RP_SIGN_ALGO],
            audience=self.OIDC_RP_CLIENT_ID,
            issuer=provider().issuer,
            leeway=CLOCKS_APART_SECONDS,
            options={"require": ["iss", "sub", "aud", "exp", "iat"]},
        )

    def get_or_create_user(self, access_token: str, id_token: str, payload: dict[str, Any]) -> User:
        claims = dict(payload)
        if self.OIDC_OP_USER_ENDPOINT:
            more = self.get_userinfo(access_token, id_token, payload)
            if more.get("sub") != payload["sub"]:  # OpenID Connect Core, 5.3.2
                raise SuspiciousOperation("the userinfo is of somebody else")
            claims = {**more, **payload}
        return account_of(claims)


class _OnlyWhenConfigured:
    """Without an issuer, there is nothing at these URLs."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not settings.OLLA_OIDC_ISSUER:
            raise Http404
        try:
            response: HttpResponseBase = super().dispatch(request, *args, **kwargs)  # type: ignore[misc]
        except TROUBLE as error:
            # A token's content is not in these messages, an answer's body may be: it is not logged.
            logger.warning("Sign-in at %s failed: %s", settings.OLLA_OIDC_ISSUER, _told(error))
            return redirect(failure_url())
        return response


class BeginView(_OnlyWhenConfigured, OIDCAuthenticationRequestView):  # type: ignore[misc]
    """Sends a person to the provider."""

    def __init__(self, **initial: Any) -> None:
        super(OIDCAuthenticationRequestView, self).__init__(**initial)
        self.OIDC_RP_CLIENT_ID = settings.OIDC_RP_CLIENT_ID

    def get(self, request: HttpRequest) -> HttpResponseBase:
        self.OIDC_OP_AUTH_ENDPOINT = provider().authorization
        response: HttpResponseBase = super().get(request)
        return response


class CallbackView(_OnlyWhenConfigured, OIDCAuthenticationCallbackView):  # type: ignore[misc]
    """They are back from there."""

    @property
    def failure_url(self) -> str:
        return failure_url()


def failure_url() -> str:
    return reverse("login") + "?failed=oidc"


def _told(error: Exception) -> str:
    return type(error).__name__ if isinstance(error, requests.HTTPError) else str(error)
