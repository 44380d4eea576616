"""The pages of local models: what they say in each state, who may press what, also without scripts."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages

from inference.local import cards, wishes
from inference.local.choices import State, Wanted
from inference.models import LocalModel, LocalModelStatus, ModelHost
from ollaproject.wire import clock

if TYPE_CHECKING:
    from tests.pages.conftest import SignIn

pytestmark = pytest.mark.django_db

GIGABYTE = 10**9
FACTS = {"chat": {"weight_bytes": 2 * GIGABYTE, "dense_bytes": 16 * GIGABYTE, "kv_values": 0}}


def add_model(name: str = "small", *, state: State = State.STOPPED, **fields: Any) -> LocalModel:
    """A stored model with the status that its supervisor would have written."""
    of_status = [name for name in fields if not hasattr(LocalModel, name)]
    status = {name: fields.pop(name) for name in of_status}
    model = LocalModel.objects.create(name=name, **{"source": "house/small", **fields})
    LocalModelStatus.objects.create(model=model, state=state, **{"since": clock.now(), **status})
    return model


def add_machine(name: str = "mini-2", **fields: Any) -> ModelHost:
    seen = {"memory_total": 16 * GIGABYTE, "memory_free": 9_300_000_000, "seen_at": clock.now()}
    return ModelHost.objects.create(name=name, **{**seen, **fields})


@pytest.fixture
def looker(db: None) -> User:
    """Who may see the fleet and its local models, and no more."""
    user = User.objects.create_user("vera")
    user.user_permissions.set(Permission.objects.filter(codename__in=("view_fleet", "view_localmodel")))
    return user


def test_every_state_is_said_with_how_far_it_is_or_why(signed_in: SignIn, operator: User) -> None:
    add_machine()
    add_model(
        "coming",
        state=State.DOWNLOADING,
        wanted=Wanted.RUNNING,
        done=45_000_000,
        total=93_000_000,
        bytes_per_second=12_000_000,
    )
    add_model("broken", state=State.FAILED, reason="model.safetensors is damaged.")
    add_model("resting", memory_megabytes=5100, host="mini-2")
    page = signed_in(operator).get("/models/local/").content.decode()

    assert "45 MB of 93 MB, 12 MB/s, 4 s left" in page
    assert 'max="100" value="48"' in page
    assert "model.safetensors is damaged." in page
    assert "needs 5.3 GB, 9.3 GB free<" in page
    assert "0 of 3 local models are ready." in page


def test_without_a_supervisor_the_page_says_what_to_start(signed_in: SignIn, operator: User) -> None:
    add_machine(seen_at=clock.now() - timedelta(minutes=1))
    wishes.start(add_model(host="mini-2"))
    page = signed_in(operator).get("/models/local/").content.decode()

    assert "No supervisor runs" in page
    assert "It waits for a supervisor on mini-2" in page


BUTTONS_BY_STATE = [
    (State.STOPPED, Wanted.STOPPED, ["start", "download"]),
    (State.DOWNLOADING, Wanted.RUNNING, ["stop", "delete-files"]),
    (State.READY, Wanted.RUNNING, ["stop", "restart", "unload", "update", "delete-files"]),
    (State.UNLOADED, Wanted.UNLOADED, ["start", "stop", "delete-files"]),
    (State.FAILED, Wanted.RUNNING, ["start", "stop", "delete-files"]),
]


@pytest.mark.parametrize(("state", "wanted", "names"), BUTTONS_BY_STATE)
def test_only_buttons_that_make_sense_are_shown(state: State, wanted: Wanted, names: list[str]) -> None:
    add_model(state=state, wanted=wanted)
    assert [action.name for action in cards.all_cards([])[0].actions] == names


def test_the_files_of_a_folder_that_a_person_gave_cannot_be_deleted() -> None:
    add_model(state=State.READY, source="/srv/models/mine", wanted=Wanted.RUNNING)
    assert "delete-files" not in [action.name for action in cards.all_cards([])[0].actions]


def test_a_button_does_what_it_says_and_shows_the_rest(signed_in: SignIn, operator: User) -> None:
    model = add_model()
    answer = signed_in(operator).post(f"/models/local/{model.pk}/start/", headers={"HX-Request": "true"})

    assert LocalModel.objects.get().wanted == Wanted.RUNNING
    assert answer["HX-Trigger"] == '{"olla:said": {"text": "Starting small."}}'
    assert f'id="local-model-{model.pk}"' in answer.content.decode()


def test_without_scripts_a_form_does_the_same_and_deleting_is_asked_about(
    signed_in: SignIn, operator: User
) -> None:
    model = add_model(state=State.READY, wanted=Wanted.RUNNING, facts=FACTS)
    client = signed_in(operator)
    url = f"/models/local/{model.pk}/delete-files/"
    asked = client.get(url, {"from": "model"})
    assert not LocalModel.objects.get().files_unwanted
    assert "2.0 GB have to be downloaded again before it can run." in asked.content.decode()
    answer = client.post(f"{url}?from=model")

    assert answer["Location"] == f"/models/local/{model.pk}/"
    assert [str(each) for each in get_messages(answer.wsgi_request)] == ["Deleting the files of small."]
    found = LocalModel.objects.get()
    assert (found.files_unwanted, found.wanted) == (True, Wanted.STOPPED)


PLACES = [
    ("get", "/models/local/", (302, 403, 200, 200)),
    ("get", "/models/local/now/", (401, 403, 200, 200)),
    ("get", "/models/local/{id}/", (302, 403, 200, 200)),
    ("get", "/models/local/{id}/now/", (401, 403, 200, 200)),
    ("get", "/models/local/999999/", (302, 403, 404, 404)),
    ("post", "/models/local/{id}/start/", (302, 403, 403, 302)),
    ("post", "/models/local/{id}/explode/", (302, 403, 403, 404)),
    ("get", "/models/local/{id}/delete-files/", (302, 403, 403, 200)),
    ("get", "/admin/inference/localmodel/", (302, 302, 302, 200)),
    ("post", "/admin/inference/localmodel/look/", (302, 302, 302, 200)),
]


@pytest.mark.parametrize("person", ["anonymous", "member", "looker", "operator"])
def test_everyone_gets_what_is_theirs(request: pytest.FixtureRequest, signed_in: SignIn, person: str) -> None:
    model = add_model()
    user = None if person == "anonymous" else request.getfixturevalue(person)
    client, column = signed_in(user), ["anonymous", "member", "looker", "operator"].index(person)
    found = {
        (method, url): getattr(client, method)(url.format(id=model.pk)).status_code
        for method, url, _ in PLACES
    }

    assert found == {(method, url): statuses[column] for method, url, statuses in PLACES}


def test_the_dashboard_shows_those_that_are_on_the_move(
    signed_in: SignIn, operator: User, member: User
) -> None:
    from tests.pages.fleet import add_endpoint  # noqa: PLC0415

    add_endpoint("mini-1")
    add_model("coming", state=State.LOADING, done=3000, total=12000)
    add_model("there", state=State.READY)
    page = signed_in(operator).get("/").content.decode()

    assert "coming" in page
    assert "9 s left" in page
    assert "there" not in page
    assert "coming" not in signed_in(member).get("/").content.decode()


def test_a_page_of_many_models_costs_no_more_queries(
    signed_in: SignIn, operator: User, django_assert_num_queries: Any
) -> None:
    add_machine()
    for number in range(5):
        add_model(f"m{number}")
    client = signed_in(operator)
    client.get("/models/local/")
    with django_assert_num_queries(6):  # session, user, two of permissions, models, machines
        client.get("/models/local/now/")
