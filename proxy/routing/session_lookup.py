"""Where a sticky session is, for whoever explains routing. It is looked at and stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings

from proxy.gateway import sticky_from_settings
from proxy.routing.sticky import SESSION_HEADER, Asker

if TYPE_CHECKING:
    from proxy.routing.sticky import Session, Sticky

# How long Redis may take to tell all the pins that there are.
CATCH_UP_SECONDS = 3.0


def shared_session(said: str, model: str | None) -> Session | None:
    """The session that requests for `model` name by X-Olla-Session-ID, as Redis knows it.

    None when sessions are not sticky, when no Redis is there to ask, or when it does not answer.
    """
    if not settings.OLLA_STICKY_SESSIONS or not settings.REDIS_URL:
        return None
    sticky = sticky_from_settings()
    sharing = sticky.sharing
    if sharing is None:
        return None
    sharing.start(sticky)
    caught_up = sharing.caught_up.wait(CATCH_UP_SECONDS)
    sharing.stop()
    sticky.figures()  # takes over what was heard
    return session_in(sticky, said, model) if caught_up else None


def session_in(sticky: Sticky, said: str, model: str | None) -> Session:
    """The same, as one process knows it. From any thread."""
    headers = [(SESSION_HEADER, said.encode())]
    return sticky.look_for(Asker(headers, address="", model=model or "", prompt=None))
