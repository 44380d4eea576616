"""Sessions that have expired do not gather in the database."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session

from ollaproject.wire import clock
from proxy.tasks import prune_sessions


@pytest.mark.django_db
def test_expired_sessions_go_and_others_stay() -> None:
    for key, hours in (("expired", -1), ("valid", 1)):
        ends = clock.now() + timedelta(hours=hours)
        Session.objects.create(session_key=key, session_data="", expire_date=ends)
    prune_sessions()
    assert [session.session_key for session in Session.objects.all()] == ["valid"]
