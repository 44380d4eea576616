"""Local models over REST: configured, looked at, started, read, and by whom."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission, User

from inference.local.choices import State, Wanted
from inference.models import LocalModel, LocalModelEvent, LocalModelStatus
from ollaproject.wire import clock, roles
from tests.pages.test_local_models import add_machine, add_model
from tests.pages.test_local_models_admin import write_folder

if TYPE_CHECKING:
    from rest_framework.test import APIClient

    from tests.api.conftest import SignIn

pytestmark = pytest.mark.django_db

URL = "/api/local-models/"


@pytest.fixture
def client(signed_in: SignIn) -> APIClient:
    """Of someone who may do everything with local models, and is no superuser."""
    user = User.objects.create_user("ida")
    roles.grant(user, roles.OPERATOR)
    return signed_in(user)


def test_a_model_is_added_changed_and_deleted(client: APIClient, tmp_path: Path) -> None:
    add_machine()
    folder = write_folder(tmp_path / "mine")
    given = {"source": str(folder), "aliases": ["small"], "token": "hf_secret", "start": True}
    made = client.post(URL, given)
    body = made.json()
    assert (made.status_code, body["name"], body["wanted"]) == (201, "mine", "running")
    assert (body["has_token"], "token" in body, "start" in body) == (True, False, False)
    assert body["status"]["memory"]["free"] == 9_300_000_000
    assert body["status"]["memory"]["needed"] > 2000
    assert (body["status"]["state"], body["status"]["actions"]) == ("stopped", ["stop"])
    assert "hf_secret" not in client.get(URL).content.decode()

    changed = client.patch(f"{URL}{body['id']}/", {"pinned": True, "token": ""})
    assert (changed.json()["pinned"], changed.json()["has_token"]) == (True, False)
    assert changed.json()["aliases"] == ["small"]
    assert client.delete(f"{URL}{body['id']}/").status_code == 204
    assert not LocalModel.objects.exists()


def test_mistakes_are_told_by_field_and_nothing_is_stored(client: APIClient, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine")
    unknown = client.post(URL, {"source": str(folder), "sauce": 1}).json()["error"]
    assert list(unknown["fields"]) == ["sauce"]
    wrong = client.post(URL, {"source": str(folder), "kind": "embedding"}).json()["error"]
    assert wrong["fields"] == {
        "source": [f"{folder} holds no embedding model that is known here, but one of type llama."]
    }
    both = client.post(URL, {"source": "nonsense", "server_options": "--port 1"}).json()["error"]
    assert set(both["fields"]) == {"source", "server_options"}
    assert not LocalModel.objects.exists()


@pytest.mark.parametrize(
    ("action", "state", "wanted", "then"),
    [
        ("start", State.FAILED, Wanted.RUNNING, Wanted.RUNNING),
        ("stop", State.READY, Wanted.RUNNING, Wanted.STOPPED),
        ("restart", State.READY, Wanted.RUNNING, Wanted.RUNNING),
        ("unload", State.READY, Wanted.RUNNING, Wanted.UNLOADED),
        ("download", State.STOPPED, Wanted.STOPPED, Wanted.DOWNLOADED),
        ("update", State.READY, Wanted.RUNNING, Wanted.RUNNING),
        ("delete-files", State.READY, Wanted.RUNNING, Wanted.STOPPED),
    ],
)
def test_what_the_buttons_do(
    client: APIClient, action: str, state: State, wanted: Wanted, then: Wanted
) -> None:
    model = add_model(state=state, wanted=wanted)
    answer = client.post(f"{URL}{model.pk}/{action}/")
    assert (answer.status_code, answer.json()["wanted"]) == (202, then)
    found = LocalModel.objects.get()
    assert found.wanted_at is not None
    assert bool(found.restart_asked_at) == (action == "restart")
    assert bool(found.update_asked_at) == (action == "update")
    assert found.files_unwanted == (action == "delete-files")


def test_what_makes_no_sense_changes_nothing(client: APIClient) -> None:
    model = add_model(state=State.STOPPED)
    assert client.post(f"{URL}{model.pk}/unload/").json()["wanted"] == "stopped"
    assert LocalModel.objects.get().wanted_at is None


def test_the_log_and_the_past_are_read(client: APIClient) -> None:
    model = add_model(state=State.FAILED, log_tail="one\ntwo\nthree", host="mini-9")
    LocalModelEvent.objects.create(
        model=model, at=clock.now(), old_state=State.LOADING, new_state=State.FAILED, reason="damaged"
    )
    LocalModelStatus.objects.update(host="mini-9")
    log = client.get(f"{URL}{model.pk}/log/", {"lines": 2}).json()
    where = f"All of it is on mini-9: logs/model-{model.pk}.log in its OLLA_HOME."
    assert log == {"text": "two\nthree", "note": f"These are its last lines. {where}"}
    assert client.get(f"{URL}{model.pk}/events/").json()[0]["reason"] == "damaged"

    LocalModelStatus.objects.update(host="")
    file = Path(settings.OLLA_HOME) / "logs" / f"model-{model.pk}.log"
    file.parent.mkdir(exist_ok=True)
    file.write_text("four\nfive\n")
    assert client.get(f"{URL}{model.pk}/log/").json() == {"text": "four\nfive", "note": ""}
    file.unlink()


def test_who_may_what(signed_in: SignIn, member: User) -> None:
    model = add_model()
    add_machine()
    viewer = User.objects.create_user("vera")
    viewer.user_permissions.set(
        Permission.objects.filter(codename__in=("view_localmodel", "add_localmodel", "view_modelhost"))
    )
    statuses = {
        user.get_username() if user else None: [
            signed_in(user).get(URL).status_code,
            signed_in(user).post(f"{URL}{model.pk}/start/").status_code,
            signed_in(user).delete(f"{URL}{model.pk}/").status_code,
            signed_in(user).get("/api/model-hosts/").status_code,
        ]
        for user in (None, member, viewer)
    }
    assert statuses == {None: [401] * 4, "grace": [403] * 4, "vera": [200, 403, 403, 200]}
