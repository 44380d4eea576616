"""Local models in the admin: chosen, looked at before they are stored, with a token that is never shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from django.urls import reverse

from inference.local import from_settings
from inference.local.choices import State, Wanted
from inference.models import LocalModel, LocalModelStatus
from tests.pages.test_local_models import add_machine, add_model

if TYPE_CHECKING:
    from pathlib import Path

    from django.contrib.auth.models import User
    from django.test import Client

    from tests.pages.conftest import SignIn

pytestmark = pytest.mark.django_db

ADD = "/admin/inference/localmodel/add/"
LOOK = "/admin/inference/localmodel/look/"
LIST = "/admin/inference/localmodel/"
VALUES = 1000


def write_folder(folder: Path, **config: Any) -> Path:
    """What a model's folder looks like to whoever does not load it."""
    folder.mkdir()
    settings = {"model_type": "llama", "max_position_embeddings": 2048, "torch_dtype": "bfloat16"}
    (folder / "config.json").write_text(json.dumps({**settings, **config}))
    (folder / "tokenizer.json").write_text("{}")
    header = json.dumps({"w": {"dtype": "BF16", "shape": [VALUES], "data_offsets": [0, 2 * VALUES]}}).encode()
    weights = len(header).to_bytes(8, "little") + header + bytes(2 * VALUES)
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def filled(**fields: Any) -> dict[str, Any]:
    given = {
        "origin": "folder",
        "kind": "chat",
        "autostart": "on",
        "spread_through": "ring",
        "start_now": "on",
    }
    return {**given, **fields}


def problems(answer: Any) -> dict[str, list[str]]:
    return dict(answer.context["adminform"].form.errors)


@pytest.fixture
def admin(signed_in: SignIn, operator: User) -> Client:
    return signed_in(operator)


def test_a_model_is_added_looked_at_and_started(admin: Client, tmp_path: Path) -> None:
    add_machine()
    folder = write_folder(tmp_path / "mine")
    answer = admin.post(ADD, filled(source=str(folder), aliases="small\nfast"))

    model = LocalModel.objects.select_related("status").get()
    assert answer["Location"] == reverse("admin:inference_localmodel_change", args=[model.pk])
    assert (model.name, model.aliases, model.wanted) == ("mine", ["small", "fast"], Wanted.RUNNING)
    assert model.status.facts["chat"]["weight_bytes"] > 2 * VALUES
    assert "9.3 GB free on mini-2" in admin.get(answer["Location"]).content.decode()


def test_what_does_not_fit_is_refused_by_its_field_before_anything_is_stored(
    admin: Client, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "mine")
    mute = write_folder(tmp_path / "mute")
    (mute / "tokenizer.json").unlink()
    torn = write_folder(tmp_path / "torn")
    (torn / "model.safetensors").write_bytes((torn / "model.safetensors").read_bytes()[:-1])

    def refused(**fields: Any) -> str:
        (field, said), *others = problems(admin.post(ADD, filled(**fields))).items()
        assert not others
        return f"{field}: {said[0]}"

    assert "source: " in refused(source=str(tmp_path / "none"))
    assert refused(source=str(mute)).endswith("neither tokenizer.json nor tokenizer.model is there.")
    assert "is damaged: it has" in refused(source=str(torn))
    assert refused(source=str(folder), kind="embedding").endswith("but one of type llama.")
    assert refused(source=str(folder), context_limit=4096) == (
        "context_limit: The model was made for 2048 tokens at most."
    )
    assert refused(source="house/small").startswith("source: Give the whole path of the folder")
    assert refused(source="small", origin="hub") == (
        "source: 'small' is no Hugging Face id: those look like owner/name."
    )
    assert refused(source="/models/small", origin="hub").startswith(
        "source: '/models/small' looks like a folder"
    )
    assert not LocalModel.objects.exists()


def test_a_look_says_what_would_come_of_it_and_stores_nothing(admin: Client, tmp_path: Path) -> None:
    add_machine()
    folder = write_folder(tmp_path / "mine", auto_map={"AutoModel": "code.Model"})
    seen = admin.post(LOOK, filled(source=str(folder), memory_megabytes=20_000)).json()
    assert seen["said"] == (
        "It needs 21.0 GB, 9.3 GB free on mini-2. That is more than is free: unload another model, or "
        "choose a smaller one. It comes with code of its own, which does not run unless you tick that."
    )
    assert admin.post(LOOK, filled(source="")).json()["problems"] == [
        "Say which model: its Hugging Face id, or the whole path of its folder."
    ]
    assert not LocalModel.objects.exists()


def test_a_token_is_stored_encrypted_and_never_shown(admin: Client, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine")
    admin.post(ADD, filled(source=str(folder), new_token="hf_secret"))
    model = LocalModel.objects.get()
    page = admin.get(f"{LIST}{model.pk}/change/").content.decode()

    assert (model.token(), "hf_secret" in model.encrypted_token) == ("hf_secret", False)
    assert "hf_secret" not in page
    assert "A token is stored." in page
    admin.post(f"{LIST}{model.pk}/change/", filled(source=str(folder), name="mine", remove_token="on"))
    assert LocalModel.objects.get().token() == ""


def test_a_change_of_a_running_model_says_that_it_needs_a_restart(admin: Client, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine")
    model = add_model("mine", source=str(folder), state=State.READY, wanted=Wanted.RUNNING)
    url = f"{LIST}{model.pk}/change/"
    same = admin.post(url, filled(source=str(folder), name="mine", pinned="on"), follow=True)
    changed = admin.post(url, filled(source=str(folder), name="mine", max_concurrent=4), follow=True)

    assert "takes effect when it is restarted" not in same.content.decode()
    assert "takes effect when it is restarted" in changed.content.decode()
    assert LocalModelStatus.objects.get().state == State.READY


def test_several_models_are_started_and_deleted_at_once(admin: Client) -> None:
    from_settings.ensure(chat="demo", embedding="", port=40115)
    ids = [add_model(name).pk for name in ("a", "b")] + [LocalModel.objects.get(from_settings=True).pk]
    listed = admin.post(LIST, {"action": "start", "_selected_action": ids[:2]}, follow=True).content.decode()
    assert "Starting a. Starting b." in listed
    assert LocalModel.objects.filter(wanted=Wanted.RUNNING).count() == 3
    form = {"action": "delete_selected", "_selected_action": ids, "post": "yes"}
    deleted = admin.post(LIST, form, follow=True).content.decode()
    assert "OLLA_MODEL names this model" in deleted
    assert "No local model yet." in deleted
