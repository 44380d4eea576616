"""The way in for the playground: the gateway's API for whoever is signed in, with their rights and limits.

The session is read, and the CSRF token checked, in a thread; then the request goes the ordinary way. What
belongs to the browser and the page stays here.
"""

from __future__ import annotations

from glob import escape
from importlib import import_module
from io import BytesIO
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse
from django.middleware.csrf import CsrfViewMiddleware

from ollaproject import forwarded
from ollaproject.wire import asgi, roles
from ollaproject.wire.openai_errors import ApiError
from proxy import errors
from proxy.access.key_table import Holder, models_of, person_from, team_from
from proxy.access.patterns import Names
from proxy.consumers import ApiConsumer
from proxy.limits.limits import Limits
from proxy.routing.tables import routing_table_loaded

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.http import HttpRequest

    from ollaproject.wire.asgi import Scope
    from proxy.access.key_table import Team
    from proxy.call import Call

PREFIX: Final = b"/playground/api"
# Names the one endpoint that is to answer, percent-encoded; without it routing chooses.
ONLY_ENDPOINT: Final = b"x-olla-only-endpoint"
# Of no use to an endpoint; the rest of what a browser adds, cookies above all, is dropped on every way.
FROM_THE_PAGE: Final = frozenset({b"x-csrftoken", b"origin", b"referer", ONLY_ENDPOINT})
NAME: Final = "Playground"


class PlaygroundConsumer(ApiConsumer):
    """`/playground/api/v1/…`."""

    async def answer(self, call: Call) -> None:
        self.gateway.guard.check_host(call.head)
        if call.method != "POST":
            # An endpoint's page must not be opened as if it were one of ours.
            raise errors.method_not_allowed(call.method, ("POST",))
        holder = await database_sync_to_async(holder_of)(call.scope)
        call.caller = self.gateway.guard.identify(call.scope, holder)
        await routing_table_loaded()
        call.head = call.head.without(FROM_THE_PAGE)
        await self.dispatch(call, call.path.removeprefix(PREFIX))


def holder_of(scope: Scope) -> Holder:
    """Whoever is signed in, as if by a key of their own. Its id is the person's, below zero as no key's is.

    Raises ApiError: 401 for nobody, 403 for a request that our own page has not sent and for who may not.
    """
    user = person(scope)
    team, shared = team_of(user), person_from(user)
    only = unquote(asgi.header(scope, ONLY_ENDPOINT) or "")
    return Holder(
        id=-user.pk,
        name=NAME,
        public_id=b"",
        secrets=(),
        user_id=user.pk,
        user=user.get_username(),
        team=team,
        models=models_of((), team, shared),
        endpoints=Names((escape(only),) if only else ()),
        limits=Limits.of(None, settings.OLLA_KEY_LIMITS),
        person=shared,
    )


def team_of(user: User) -> Team | None:
    """The team whose limits count for a person: the first, by name, that has any, else the first."""
    groups = sorted(
        roles.teams_of(user).select_related("limits"),
        key=lambda group: (not hasattr(group, "limits"), group.name),
    )
    return team_from(groups[0] if groups else None)


def person(scope: Scope) -> User:
    request = ASGIRequest(dict(scope), BytesIO())
    forwarded.settle(request.META)
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(
        request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    )
    user = get_user(request)
    if not user.is_authenticated:
        raise signed_out()
    if is_forged(request):
        raise forged()
    if not roles.calls_models(user):
        raise not_allowed()
    return user


def is_forged(request: HttpRequest) -> bool:
    """Whether Django's own check finds that another site may have sent it."""
    check = CsrfViewMiddleware(lambda _: HttpResponse())
    check.process_request(request)
    return check.process_view(request, lambda _: HttpResponse(), (), {}) is not None


def signed_out() -> ApiError:
    return ApiError(401, "signed_out", "You are signed out. Reload the page and sign in again.")


def not_allowed() -> ApiError:
    message = "Your account may not call models. Ask an administrator for the role of a member."
    return ApiError(403, "permission_denied", message)


def forged() -> ApiError:
    message = "This request did not come from the playground's page, or the page is too old. Reload it."
    return ApiError(403, "csrf_failed", message)
