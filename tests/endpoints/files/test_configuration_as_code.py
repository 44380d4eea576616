"""The fleet as a file: what is exported imports to the same fleet, and a check finds every difference."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from endpoints.choices import Mode
from endpoints.errors import EndpointFileError
from endpoints.files import exporting, importing, yaml_io
from endpoints.models import AliasedModel, Change, Endpoint, ModelAlias
from endpoints.past import changes
from ollaproject.wire.acting import Actor, acting
from ollaproject.wire.clock import now

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.django_db

SECRET = "tok-never-shown"


def run(command: str, *args: object, **options: Any) -> str:
    out = StringIO()
    call_command(command, *map(str, args), stdout=out, stderr=StringIO(), **options)
    return out.getvalue()


@pytest.fixture
def fleet(make_endpoint: Callable[..., Endpoint]) -> list[Endpoint]:
    """Two endpoints, one of them with everything that can be set, and an alias."""
    full = make_endpoint(
        name="rack 4: mini",
        url="https://mini.test:8443/llm",
        type="openai-compatible",
        tags=["office", "m4"],
        priority=0,
        weight=7,
        preserve_path=True,
        model_url="/models",
        health_check_url="https://status.test/mini",
        check_interval_seconds=90,
        check_timeout_seconds=0.5,
        deep_check_interval_seconds=300,
        model_include=["mlx-community/*"],
        model_exclude=["*-draft"],
        headers={"X-Rack": "${RACK} 007"},
        auth_kind="api_key",
        auth_header="X-Key",
        credential=SECRET,
        max_concurrent=4,
        connect_timeout_seconds=0.25,
        first_byte_timeout_seconds=3600,
        idle_timeout_seconds=61.5,
        retry="never",
    )
    alias = ModelAlias.objects.create(
        name="gpt-4o-mini",
        strategy="round-robin",
        defaults={"stop": ["${", "007"], "temperature": 0.6, "user": "yes"},
        overrides={"top_p": None, "chat_template_kwargs": {"enable_thinking": False}},
    )
    for position, model in enumerate(("qwen", "llama")):
        AliasedModel.objects.create(alias=alias, position=position, model=model)
    return [full, make_endpoint(name="plain")]


def test_what_is_exported_imports_to_the_same_fleet(fleet: list[Endpoint], tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    run("export_endpoints", path)
    before = list(Endpoint.objects.values(*changes.person_fields()))

    assert "Nothing was written" in run("import_endpoints", path, prune=True, check=True)

    path.write_text(path.read_text().replace("type: api_key", f"type: api_key\n    key: {SECRET}"))
    Endpoint.objects.all().delete()
    ModelAlias.objects.all().delete()
    run("import_endpoints", path)

    assert list(Endpoint.objects.values(*changes.person_fields())) == before
    assert Endpoint.objects.get(name="rack 4: mini").credential() == SECRET
    assert [one.model for one in AliasedModel.objects.all()] == ["qwen", "llama"]
    alias = ModelAlias.objects.get()
    assert alias.strategy == "round-robin"
    assert alias.defaults == {"stop": ["${", "007"], "temperature": 0.6, "user": "yes"}
    assert alias.overrides == {"top_p": None, "chat_template_kwargs": {"enable_thinking": False}}


def test_every_key_of_a_file_is_exported(fleet: list[Endpoint]) -> None:
    assert set(exporting.entry(fleet[0])) == set(yaml_io.KEYS)


def test_an_export_holds_no_credential(fleet: list[Endpoint]) -> None:
    assert SECRET not in run("export_endpoints")


def test_on_another_machine_a_missing_credential_is_named_with_its_line(
    fleet: list[Endpoint], tmp_path: Path
) -> None:
    path = tmp_path / "fleet.yaml"
    run("export_endpoints", path)
    Endpoint.objects.all().delete()
    with pytest.raises(CommandError):
        run("import_endpoints", path)
    with pytest.raises(EndpointFileError, match="needs a credential"):
        importing.prepare(yaml_io.read_file(path, environment={}))


DRIFTS: dict[str, Callable[[], object]] = {
    "a field": lambda: Endpoint.objects.filter(name="plain").update(priority=3),
    "an endpoint less": lambda: Endpoint.objects.filter(name="plain").delete(),
    "an endpoint more": lambda: Endpoint.objects.create(name="new", url="http://new.test"),
    "an alias less": lambda: ModelAlias.objects.all().delete(),
    "an alias more": lambda: ModelAlias.objects.create(name="another"),
    "the load balancer of an alias": lambda: ModelAlias.objects.update(strategy=""),
    "the parameters of an alias": lambda: ModelAlias.objects.update(overrides={"top_p": None}),
    "the order of an alias": lambda: AliasedModel.objects.filter(model="qwen").update(position=9),
}


@pytest.mark.parametrize("drift", DRIFTS.values(), ids=DRIFTS)
def test_a_check_finds_every_drift_and_writes_nothing(
    fleet: list[Endpoint], tmp_path: Path, drift: Callable[[], object]
) -> None:
    path = tmp_path / "fleet.yaml"
    run("export_endpoints", path)
    drift()
    before = list(Endpoint.objects.values())
    with pytest.raises(CommandError, match="not as the file says"):
        run("import_endpoints", path, prune=True, check=True)
    assert list(Endpoint.objects.values()) == before


def test_pruning_deletes_what_the_file_does_not_name_but_not_this_machines_own_model(
    make_endpoint: Callable[..., Endpoint], tmp_path: Path
) -> None:
    make_endpoint(name="old", priority=3)
    make_endpoint(name="kept", priority=3)
    Endpoint.objects.create(name="local", url="http://127.0.0.1:9", is_local=True)
    path = tmp_path / "fleet.yaml"
    path.write_text("endpoints: [{name: kept, url: 'http://kept.test'}]")

    assert "- old  http://127.0.0.1:9\n" in run("import_endpoints", path, prune=True)

    assert set(Endpoint.objects.values_list("name", "priority")) == {("kept", None), ("local", None)}


def test_pruning_leaves_what_is_not_configured_as_it_is(
    make_endpoint: Callable[..., Endpoint], tmp_path: Path
) -> None:
    endpoint = make_endpoint(name="kept")
    until = now() + timedelta(hours=1)
    Endpoint.objects.filter(pk=endpoint.pk).update(mode=Mode.MAINTENANCE, maintenance_until=until)
    path = tmp_path / "fleet.yaml"
    run("export_endpoints", path)

    run("import_endpoints", path, prune=True, check=True)
    path.write_text("endpoints: [{name: kept, url: 'http://kept.test'}]")
    run("import_endpoints", path, prune=True)

    assert Endpoint.objects.values_list("url", "mode", "maintenance_until").get() == (
        "http://kept.test",
        Mode.MAINTENANCE,
        until,
    )


def test_a_credential_is_not_kept_for_another_way_of_signing_in(
    fleet: list[Endpoint], tmp_path: Path
) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(
        "endpoints: [{name: 'rack 4: mini', url: 'http://m.test', auth: {type: basic, username: ada}}]"
    )
    with pytest.raises(EndpointFileError, match="needs a credential"):
        importing.prepare(yaml_io.read_file(path, environment={}))


@given(text=st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=30))
def test_any_text_survives_the_way_through_a_file(text: str) -> None:
    made = Endpoint(name="mini", url="http://m.test", model_include=[text])
    read = yaml_io.read_text(exporting.as_yaml([made]).encode(), name="fleet.yaml", environment={})
    assert read.mistakes == ()
    assert read.entries[0].values["model_include"] == [text]


def test_a_document_that_was_sent_reads_no_variable_and_no_file_of_this_machine() -> None:
    text = b"endpoints: [{name: '${HOME}', url: 'http://m', auth: {type: bearer, token_file: /etc/passwd}}]"
    said = [one.sentence for one in yaml_io.read_text(text, name="request").mistakes]
    assert said == [
        "Variables are only read from the command line. Write the value itself.",
        "Files are only read from the command line.",
    ]


def test_who_changed_what_is_on_record_without_secrets(make_endpoint: Callable[..., Endpoint]) -> None:
    endpoint = make_endpoint(name="mini")
    endpoint.priority = 9
    endpoint.headers = {"X-Secret": SECRET}
    endpoint.auth_kind = "bearer"
    endpoint.set_credential(SECRET)
    with acting(lambda: Actor("ada", "admin")):
        changes.save(endpoint)
        changes.save(endpoint)  # nothing differs: no row
        changes.delete([endpoint])
    deleted, changed = Change.objects.all()
    assert (changed.actor, changed.via, changed.action, changed.name) == ("ada", "admin", "changed", "mini")
    assert changed.differences == [
        "priority: unset → 9",
        "headers: X-Secret",
        "auth: none → bearer",
        "credential set",
    ]
    assert (deleted.action, deleted.differences) == ("deleted", ["http://127.0.0.1:9"])
