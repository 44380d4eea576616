"""What an alias adds to requests, over REST."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from tests.api.conftest import SignIn

pytestmark = pytest.mark.django_db


def test_aliases_have_parameters(signed_in: SignIn, admin_user: User) -> None:
    client = signed_in(admin_user)
    kwargs = {"chat_template_kwargs": {"enable_thinking": False}}
    alias = {"name": "quick", "models": ["qwen"], "defaults": {"temperature": 0.6}, "overrides": kwargs}
    made = client.post("/api/aliases/", alias).json()
    assert {name: made[name] for name in alias} == alias
    url = f"/api/aliases/{made['id']}/"
    for name in ("defaults", "overrides"):
        refused = client.patch(url, {name: {"messages": []}}).json()["error"]
        assert (refused["param"], "“messages”" in refused["message"]) == (name, True)
    changed = client.patch(url, {"defaults": {"top_p": 0.9}}).json()
    assert (changed["defaults"], changed["overrides"]) == ({"top_p": 0.9}, kwargs)
    put = client.put(url, {"name": "quick", "models": ["qwen"]}).json()
    assert (put["defaults"], put["overrides"]) == ({}, {})
