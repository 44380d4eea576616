"""Model aliases: from a file or the admin into the routing table."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from endpoints.files import yaml_io
from endpoints.models import Change, ModelAlias, Revision
from endpoints.routing import routing_table
from endpoints.routing.snapshot import Alias

if TYPE_CHECKING:
    from pathlib import Path

    from django.test import Client

pytestmark = pytest.mark.django_db

FILE = "model_aliases:\n  gpt-4o-mini: [qwen, llama]\n"


def imported(folder: Path, text: str) -> str:
    path = folder / "aliases.yaml"
    path.write_text(text)
    out = StringIO()
    call_command("import_endpoints", str(path), stdout=out, stderr=StringIO())
    return out.getvalue()


def revision() -> int:
    row = Revision.objects.first()
    return row.routing if row else 0


def test_a_file_brings_them_into_the_routing_table(tmp_path: Path) -> None:
    before = revision()

    assert "+ alias gpt-4o-mini  qwen, then llama" in imported(tmp_path, FILE)

    assert routing_table.build(1).aliases == {"gpt-4o-mini": Alias(("qwen", "llama"))}
    assert revision() > before


def test_the_file_says_all_of_a_known_alias_and_nothing_of_others(tmp_path: Path) -> None:
    imported(tmp_path, FILE + "  other: [phi]\n")

    out = imported(tmp_path, "model_aliases: {gpt-4o-mini: [llama, gemma]}")

    assert "~ alias gpt-4o-mini" in out
    assert routing_table.build(1).aliases == {
        "gpt-4o-mini": Alias(("llama", "gemma")),
        "other": Alias(("phi",)),
    }


def test_a_file_can_give_an_alias_its_own_load_balancer(tmp_path: Path) -> None:
    said = "model_aliases: {gpt-4o-mini: {models: [qwen], strategy: round-robin}}"
    assert "+ alias gpt-4o-mini  qwen, by round-robin" in imported(tmp_path, said)
    assert routing_table.build(1).aliases == {"gpt-4o-mini": Alias(("qwen",), "round-robin")}

    # Left out, it stays as it is.
    imported(tmp_path, "model_aliases: {gpt-4o-mini: [llama]}")
    assert routing_table.build(1).aliases == {"gpt-4o-mini": Alias(("llama",), "round-robin")}


def test_a_file_can_give_an_alias_parameters(tmp_path: Path) -> None:
    said = """model_aliases:
      quick:
        models: [qwen]
        defaults: {temperature: 0.6, chat_template_kwargs: {enable_thinking: false}, stop: [a, "b"]}
        overrides: {top_p: null, n: 1}
    """
    words = (
        '+ alias quick  qwen, defaults: {"temperature": 0.6, "chat_template_kwargs": {"enable_thinking": '
        'false}, "stop": ["a", "b"]}, overrides: {"top_p": null, "n": 1}'
    )
    assert words in imported(tmp_path, said)
    quick = routing_table.build(1).aliases["quick"]
    assert quick.defaults == {
        "temperature": 0.6,
        "chat_template_kwargs": {"enable_thinking": False},
        "stop": ["a", "b"],
    }
    assert quick.overrides == {"top_p": None, "n": 1}

    # Left out, they stay as they are; empty ones are none.
    imported(tmp_path, "model_aliases: {quick: [qwen, llama]}")
    kept = routing_table.build(1).aliases["quick"]
    assert kept == Alias(("qwen", "llama"), defaults=quick.defaults, overrides=quick.overrides)
    imported(tmp_path, "model_aliases: {quick: {models: [qwen], defaults: {}, overrides: {}}}")
    assert routing_table.build(1).aliases == {"quick": Alias(("qwen",))}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("{strategy: priority}", "model_aliases.a: An alias needs a list of models."),
        ("{models: []}", "model_aliases.a.models: An alias needs at least one model."),
        ("{models: [m], strategy: luck}", "model_aliases.a.strategy: There is no load balancer 'luck'."),
        ("{models: [m], weight: 3}", "model_aliases.a.weight: This key is not known."),
        ("{models: [m], defaults: [1]}", "model_aliases.a.defaults: This must be a mapping of keys"),
        ("{models: [m], defaults: {Model: x}}", "model_aliases.a.defaults: “Model” is for the client"),
        ("{models: [m], overrides: {t: .nan}}", "model_aliases.a.overrides: “t” holds what JSON"),
        ("{models: [m], defaults: {a: {b: 2026-01-01}}}", "model_aliases.a.defaults.a.b: This must be text."),
        ("{models: [m], defaults: {a: {b: 1, b: 2}}}", "model_aliases.a.defaults.a.b: This key stands"),
    ],
)
def test_what_an_alias_cannot_be_is_said(said: str, words: str) -> None:
    mistakes = yaml_io.read_text(f"model_aliases: {{a: {said}}}".encode(), name="f").mistakes
    assert words in "".join(f"{one.path}: {one.sentence}" for one in mistakes)


def test_the_same_file_twice_changes_nothing(tmp_path: Path) -> None:
    imported(tmp_path, FILE)
    before = revision()

    out = imported(tmp_path, FILE)
    assert "= alias gpt-4o-mini" in out
    assert "; aliases: 0 added, 0 changed, 1 unchanged." in out

    assert revision() == before


@pytest.mark.parametrize("value", ["qwen", "[]", "[[qwen]]", '["qwen "]', '["a\\tb"]'])
def test_what_is_no_list_of_models_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(CommandError):
        imported(tmp_path, f"model_aliases: {{a: [x], b: {value}}}")

    assert not ModelAlias.objects.exists()


def test_the_admin_edits_them_in_order(admin_client: Client) -> None:
    form = {
        "name": "gpt-4o-mini",
        "models-TOTAL_FORMS": "2",
        "models-INITIAL_FORMS": "0",
        "models-0-position": "1",
        "models-0-model": "llama",
        "models-1-position": "0",
        "models-1-model": "qwen",
    }

    answer = admin_client.post(reverse("admin:endpoints_modelalias_add"), form, follow=True)

    assert "qwen, then llama" in answer.content.decode()
    assert routing_table.build(1).aliases == {"gpt-4o-mini": Alias(("qwen", "llama"))}


def test_the_admin_edits_their_parameters_and_refuses_others(admin_client: Client) -> None:
    alias = ModelAlias.objects.create(name="quick", defaults={"temperature": 0.6})
    url = reverse("admin:endpoints_modelalias_change", args=[alias.pk])
    assert "&quot;temperature&quot;: 0.6" in admin_client.get(url).content.decode()
    form = {
        "name": "quick",
        "defaults": "",
        "overrides": '{"chat_template_kwargs": {"enable_thinking": false}}',
        "models-TOTAL_FORMS": "1",
        "models-INITIAL_FORMS": "0",
        "models-0-position": "0",
        "models-0-model": "qwen",
    }
    refused = {
        '{"stream": true}': "is for the client to say",
        '{"top_p": NaN}': "holds what JSON or a database cannot",
        '{"stop": "a\\u0000"}': "holds what JSON or a database cannot",
        "[1]": "Give an object of parameters",
        "{": "Enter a valid JSON",
    }
    for text, words in refused.items():
        assert words in admin_client.post(url, form | {"defaults": text}).content.decode()

    assert admin_client.post(url, form).status_code == 302

    overrides = {"chat_template_kwargs": {"enable_thinking": False}}
    assert routing_table.build(1).aliases == {"quick": Alias(("qwen",), overrides=overrides)}
    said = Change.objects.all()[0].differences
    assert said == ["models: qwen", 'overrides: {"chat_template_kwargs": {"enable_thinking": false}}']


def test_an_alias_that_is_deleted_leaves_the_table(tmp_path: Path) -> None:
    imported(tmp_path, FILE)
    before = revision()

    ModelAlias.objects.get().delete()

    assert routing_table.build(1).aliases == {}
    assert revision() > before
