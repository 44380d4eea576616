"""Endpoint files: strict, all or nothing, every mistake with its line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.core.management import call_command

from endpoints import operations
from endpoints.choices import Mode
from endpoints.files import importing, yaml_io
from endpoints.models import Endpoint
from tests.endpoints.importing import SEED
from tests.fakes import servers

if TYPE_CHECKING:
    from tests.endpoints.importing import Importer
    from tests.fakes.upstream import FakeUpstream

pytestmark = pytest.mark.django_db

SECRET = "tok-3c1d"


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


def test_what_an_operator_does_while_a_file_is_looked_at_stands(importer: Importer) -> None:
    """To detect types, and for a person to read what would change, takes its time."""
    importer.run(SEED)
    file = yaml_io.read_text(SEED.replace("priority: 80", "priority: 90").encode(), name="file")
    prepared = importing.prepare(file)
    operations.pause(endpoint=Endpoint.objects.get())

    importing.store(prepared)

    endpoint = Endpoint.objects.get()
    assert (endpoint.priority, endpoint.mode) == (90, Mode.PAUSED)


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


@pytest.mark.parametrize("command", ["import_endpoints", "check_endpoints"])
def test_help_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        call_command(command, "--help")
    assert caught.value.code == 0
    assert f"manage.py {command}" in " ".join(capsys.readouterr().out.lower().split())
