"""Endpoint files with mistakes: each is told with its line, and nothing is imported."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError, call_command

from tests.endpoints.importing import SEED

if TYPE_CHECKING:
    from pathlib import Path

    from tests.endpoints.importing import Importer

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ("colour: red", "4: endpoints[0].colour: This key is not known. Known keys: url, name, type,"),
        ("priority: 1\npriority: 2", "5: endpoints[0].priority: This key stands here twice."),
        ("priority: high", "4: endpoints[0].priority: This must be a whole number."),
        ("priority: -1", "4: endpoints[0].priority: "),
        ("type: [vllm-mlx]", "4: endpoints[0].type: This must be text."),
        ("type: mainframe", "4: endpoints[0].type: There is no backend type 'mainframe'. Known types: "),
        (
            "type: auto",
            "4: endpoints[0].type: Its type cannot be detected: nothing could be asked there: connection",
        ),
        ("model_url: null", "4: endpoints[0].model_url: This must be text."),
        ("preserve_path: yes", "4: endpoints[0].preserve_path: This must be true or false."),
        (
            "check_interval: 5",
            "4: endpoints[0].check_interval: '5' is not a duration. Write a number and a unit",
        ),
        (
            "check_interval: 100ms",
            "4: endpoints[0].check_interval: The check interval must be between 1s and 24h",
        ),
        ("check_timeout: 9s", "4: endpoints[0].check_timeout: The check timeout (9s) must be shorter than"),
        ("model_filter: {only: [a]}", "4: endpoints[0].model_filter.only: This key is not known."),
        ("model_filter: {include: a}", "4: endpoints[0].model_filter.include: This must be a list."),
        ("model_filter:\n  include:\n  - [a]", "6: endpoints[0].model_filter.include[0]: This must be text."),
        ("headers: {Host: a}", "4: endpoints[0].headers: Host is set by the gateway itself"),
        ("headers: {A: 1, A: 2}", "4: endpoints[0].headers.A: This key stands here twice."),
        ("headers: {A: '${NOT_SET_ANYWHERE}'}", "The environment variable NOT_SET_ANYWHERE is not set."),
        ("headers: {A: '${not a name}'}", "Write a variable as ${NAME}"),
        ("auth: bearer", "4: endpoints[0].auth.type: The type must be bearer, api_key or basic."),
        ("auth: {type: magic}", "4: endpoints[0].auth.type: The type must be bearer, api_key or basic."),
        ("auth: {type: bearer}", "4: endpoints[0].auth: This way of signing in needs a credential."),
        ("auth: {type: bearer, token: a, token_file: b}", "Give one of token and token_file."),
        ("auth: {type: bearer, token: a, key: b}", "4: endpoints[0].auth.key: This key is not known."),
        ("auth: {type: bearer, token_file: nowhere}", "The file nowhere cannot be read."),
        ("auth: {type: basic, password: a}", "4: endpoints[0].auth: Basic sign-in needs a user name."),
    ],
)
def test_a_mistake_is_told_with_its_line_and_path(importer: Importer, more: str, complaint: str) -> None:
    assert complaint in importer.one(more)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "1: file: The file is empty."),
        ("endpoints: [", "1: file: This is not YAML"),
        ("- a", "1: file: This must be a mapping"),
        ("server: {}", "1: file: There is no list called endpoints"),
        ("endpoints: {}", "1: endpoints: This must be a list."),
        ("endpoints:\n- 5", "2: endpoints[0]: This must be a mapping"),
        ("endpoints:\n- name: a", "2: endpoints[0]: The url is missing."),
        ("endpoints: []\nfleet: 1", "2: fleet: This key is not known."),
        (
            "endpoints:\n- {url: 'http://h:1', name: a}\n- {url: 'http://h:2', name: a}",
            "3: endpoints[1].name: The name a",
        ),
        (
            "endpoints:\n- url: http://me:hunter2@h:1\n  name: a",
            "2: endpoints[0].url: The URL must not hold credentials",
        ),
        ("a: &a [*a]", "1: a: This key is not known."),
        ("[" * 5000, "1: file: This is not YAML"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(importer: Importer, text: str, complaint: str) -> None:
    (said,) = importer.refused(text)
    assert complaint in said
    assert "hunter2" not in said


def test_all_mistakes_are_told_at_once_from_top_to_bottom(importer: Importer) -> None:
    said = importer.refused(
        """
        endpoints:
        - url: nonsense
          name: a
          priority: high
        - url: http://127.0.0.1:9
          name: b
          check_timeout: 9s
        """
    )
    assert [line.partition(":")[0] for line in said] == ["2", "4", "7"]


def test_nothing_is_imported_of_a_file_with_one_mistake(importer: Importer) -> None:
    importer.refused(SEED + "  - url: http://127.0.0.1:9\n    colour: red\n")


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    err = StringIO()
    with pytest.raises(CommandError):
        call_command("import_endpoints", str(tmp_path / "nowhere.yaml"), stderr=err)
    assert "nowhere.yaml: The file cannot be read: No such file or directory." in err.getvalue()
