"""What the keys of a team or of a person may use together, over REST."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import Group, User

if TYPE_CHECKING:
    from tests.api.conftest import SignIn

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(("kind", "name"), [("team", "red"), ("person", "hedy")])
def test_limits_of_teams_and_people(
    signed_in: SignIn, admin_user: User, member: User, kind: str, name: str
) -> None:
    Group.objects.create(name="red")
    User.objects.create(username="hedy")
    url = f"/api/{kind}-limits/"
    client = signed_in(admin_user)
    made = client.post(url, {kind: name, "tokens_per_month": 1000, "allowed_models": ["small-*"]})
    assert made.status_code == 201
    limits = made.json()
    assert (limits[kind], limits["tokens_per_month"], limits["max_tokens"]) == (name, 1000, None)
    one = f"{url}{limits['id']}/"
    changed = client.patch(one, {"concurrent": 0, "allowed_models": []}).json()
    assert (changed["concurrent"], changed["tokens_per_month"], changed["allowed_models"]) == (0, 1000, [])
    for wrong, param in (
        ({kind: name}, kind),  # has some already
        ({kind: "nobody"}, kind),
        ({kind: name, "tokens": 3}, "tokens"),
    ):
        refused = client.post(url, wrong)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)
    assert client.patch(one, {"allowed_models": [" "]}).status_code == 400
    assert [each[kind] for each in client.get(url).json()["results"]] == [name]
    assert client.delete(one).status_code == 204
    assert signed_in(member).get(url).status_code == 403
