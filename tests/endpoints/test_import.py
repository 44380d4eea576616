"""Endpoint files: strict, all or nothing, every mistake with its line."""

from __future__ import annotations

from io import StringIO
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command

from endpoints.models import Endpoint
from tests.fakes import servers

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.upstream import FakeUpstream

pytestmark = pytest.mark.django_db

SECRET = "tok-3c1d"
SEED = """
endpoints:
  - url: "http://192.168.0.100:8000"
    name: "vllm-mlx-server"
    type: "vllm-mlx"
    priority: 80
    model_url: "/v1/models"
    health_check_url: "/health"
    check_interval: 5s
    check_timeout: 2s
"""


class Importer:
    """Runs the command on a text. `out` and `err` hold what it printed."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "endpoints.yaml"
        self.out = self.err = ""

    def run(self, text: str, **options: Any) -> str:
        self.path.write_text(dedent(text).lstrip("\n"))
        out, err = StringIO(), StringIO()
        try:
            call_command("import_endpoints", str(self.path), stdout=out, stderr=err, **options)
        finally:
            self.out, self.err = out.getvalue(), err.getvalue()
        return self.out

    def refused(self, text: str) -> list[str]:
        """The complaints, without the file's path before the line number."""
        with pytest.raises(CommandError, match="Nothing was imported"):
            self.run(text)
        assert not Endpoint.objects.exists()
        return [line.removeprefix(f"{self.path}:") for line in self.err.splitlines()]

    def one(self, more: str) -> str:
        """The only complaint against one endpoint with the lines `more`, which begin in line 4."""
        text = "endpoints:\n- url: http://127.0.0.1:9\n  name: a\n" + "".join(
            f"  {line}\n" for line in dedent(more).strip("\n").splitlines()
        )
        (complaint,) = self.refused(text)
        return complaint


@pytest.fixture
def importer(tmp_path: Path) -> Importer:
    return Importer(tmp_path)


def test_the_seeds_example_is_imported_as_printed(importer: Importer) -> None:
    importer.run(SEED)
    endpoint = Endpoint.objects.get()
    assert (endpoint.name, endpoint.url) == ("vllm-mlx-server", "http://192.168.0.100:8000")
    assert (endpoint.type, endpoint.priority) == ("vllm-mlx", 80)
    assert (endpoint.model_url, endpoint.health_check_url) == ("/v1/models", "/health")
    assert (endpoint.check_interval_seconds, endpoint.check_timeout_seconds) == (5, 2)
    assert importer.out == "+ vllm-mlx-server  http://192.168.0.100:8000\n1 added, 0 changed, 0 unchanged.\n"


def test_the_second_time_nothing_changes(importer: Importer) -> None:
    importer.run(SEED)
    assert importer.run(SEED).endswith("0 added, 0 changed, 1 unchanged.\n")


def test_an_olla_configuration_is_read_and_its_other_sections_are_named(importer: Importer) -> None:
    importer.run(
        """
        server: {port: 40114}
        discovery:
          type: static
          static:
            endpoints:
              - {url: "http://h:9", name: mini, type: openai, model_filter: {include: ["a*"], exclude: [b]}}
        """
    )
    endpoint = Endpoint.objects.get()
    assert (endpoint.type, endpoint.model_include, endpoint.model_exclude) == (
        "openai-compatible",
        ["a*"],
        ["b"],
    )
    assert importer.err == "Not about endpoints, left out: server, discovery.type.\n"


def test_every_key_finds_its_field(importer: Importer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RACK", "4")
    importer.run(
        """
        endpoints:
        - url: http://127.0.0.1:9/llm
          name: mini
          weight: 3
          headers: {X-Rack: "${RACK}", X-Plain: "$${RACK}", X-Number: 007}
          preserve_path: true
          max_concurrent: 4
          connect_timeout: 500ms
          first_byte_timeout: 1m30s
          idle_timeout: 2m
          retry: never
        """
    )
    endpoint = Endpoint.objects.get()
    assert (endpoint.weight, endpoint.preserve_path, endpoint.max_concurrent) == (3, True, 4)
    assert endpoint.headers == {"X-Rack": "4", "X-Plain": "${RACK}", "X-Number": "007"}
    assert endpoint.connect_timeout_seconds == 0.5
    assert (endpoint.first_byte_timeout_seconds, endpoint.idle_timeout_seconds) == (90, 120)
    assert endpoint.retry == "never"


def test_an_endpoint_without_a_name_is_called_by_its_host_and_port(importer: Importer) -> None:
    importer.run("endpoints: [{url: 'http://192.168.0.100:8000'}]")
    assert Endpoint.objects.get().name == "192.168.0.100:8000"


@pytest.mark.parametrize(
    ("auth", "kind", "header", "username"),
    [
        ("{type: bearer, token: tok-3c1d}", "bearer", "", ""),
        ("{type: bearer, token: '${TOKEN}'}", "bearer", "", ""),
        ("{type: bearer, token_file: token}", "bearer", "", ""),
        ("{type: api_key, key: tok-3c1d, header: X-Token}", "api_key", "X-Token", ""),
        ("{type: api_key, key_file: token}", "api_key", "", ""),
        ("{type: basic, username: me, password: tok-3c1d}", "basic", "", "me"),
        ("{type: basic, username: me, password_file: token}", "basic", "", "me"),
    ],
)
def test_every_way_to_sign_in(
    importer: Importer, monkeypatch: pytest.MonkeyPatch, auth: str, kind: str, header: str, username: str
) -> None:
    monkeypatch.setenv("TOKEN", SECRET)
    (importer.path.parent / "token").write_text(f"{SECRET}\n")
    importer.run(f"endpoints: [{{url: 'http://127.0.0.1:9', name: a, auth: {auth}}}]")
    endpoint = Endpoint.objects.get()
    assert (endpoint.auth_kind, endpoint.auth_header, endpoint.auth_username) == (kind, header, username)
    assert endpoint.credential() == SECRET


def test_what_changed_is_said_and_secrets_are_not(importer: Importer) -> None:
    importer.run(SEED)
    out = importer.run(
        SEED.replace("5s", "1m").replace("80", "81")
        + "    headers: {X-Rack: rack-4}\n    auth: {type: bearer, token: tok-3c1d}\n"
    )
    assert "    check_interval: 5s → 1m\n" in out
    assert "    priority: 80 → 81\n" in out
    assert "    headers: X-Rack\n" in out
    assert "    credential set\n" in out
    assert SECRET not in out
    assert "rack-4" not in out


def test_a_key_that_is_left_out_keeps_its_value(importer: Importer) -> None:
    importer.run(SEED)
    importer.run("endpoints: [{url: 'http://127.0.0.1:9', name: vllm-mlx-server}]")
    endpoint = Endpoint.objects.get()
    assert (endpoint.url, endpoint.priority) == ("http://127.0.0.1:9", 80)


def test_the_same_credential_is_no_change(importer: Importer) -> None:
    text = SEED + "    auth: {type: bearer, token: tok-3c1d}\n"
    importer.run(text)
    assert importer.run(text).endswith("1 unchanged.\n")


def test_a_dry_run_says_everything_and_writes_nothing(importer: Importer) -> None:
    out = importer.run(SEED, dry_run=True)
    assert out.endswith("1 added, 0 changed, 0 unchanged. Nothing was written: this was a dry run.\n")
    assert not Endpoint.objects.exists()


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


@pytest.mark.parametrize("command", ["import_endpoints", "check_endpoints"])
def test_help_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        call_command(command, "--help")
    assert caught.value.code == 0
    assert f"manage.py {command}" in " ".join(capsys.readouterr().out.lower().split())


def test_a_type_is_detected_where_the_file_says_auto(importer: Importer, upstream: FakeUpstream) -> None:
    upstream.become(servers.ollama())
    text = f"endpoints:\n- url: {upstream.url}\n  name: a\n  type: auto\n"
    importer.run(text)
    assert Endpoint.objects.get().type == "ollama"


def test_what_was_detected_once_is_not_asked_again(importer: Importer, upstream: FakeUpstream) -> None:
    text = f"endpoints:\n- url: {upstream.url}\n  name: a\n  type: auto\n"
    importer.run(text)
    upstream.stop()
    assert "1 unchanged" in importer.run(text)
