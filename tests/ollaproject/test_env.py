from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from ollaproject import env

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize("word", ["true", "1", "YES", "on"])
def test_it_reads_a_true_word(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv("SWITCH", word)

    assert env.env_bool("SWITCH", default=False) is True


def test_it_takes_an_empty_variable_for_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCH", "  ")

    assert env.env_bool("SWITCH", default=True) is True


@pytest.mark.parametrize(
    ("read", "word"),
    [
        (lambda: env.env_bool("BAD", default=True), "maybe"),
        (lambda: env.env_int("BAD", 1), "ten"),
        (lambda: env.env_int("BAD", 1, minimum=5), "4"),
        (lambda: env.env_port("BAD", 1), "99999"),
        (lambda: env.env_folder("BAD", Path()), "/dev/null/home"),
        (lambda: env.env_database("BAD", ""), "mainframe://host/name"),
        (lambda: env.env_database("BAD", ""), "mysql://user:password@host/name"),
        (lambda: env.env_redis("BAD"), "localhost:6379"),
        (lambda: env.env_redis("BAD"), "redis:///0"),
        (lambda: env.env_redis("BAD"), "redis://host:port/0"),
        (lambda: env.env_redis("BAD"), "redis://host/zero"),
        (lambda: env.env_sender("BAD", "olla@mini"), "the gateway"),
        (lambda: env.env_sender("BAD", "olla@mini"), "olla@"),
        (lambda: env.env_size("BAD", 1), "10 furlongs"),
        (lambda: env.env_choice("BAD", ["a", "b"], "a"), "c"),
    ],
)
def test_it_names_the_variable_that_does_not_parse(
    monkeypatch: pytest.MonkeyPatch, read: object, word: str
) -> None:
    monkeypatch.setenv("BAD", word)

    with pytest.raises(ImproperlyConfigured, match=r"^BAD must"):
        read()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("word", "size"),
    [("1048576", 1048576), ("100MiB", 100 * 1024**2), ("1 gb", 1024**3), ("2k", 2048), ("7B", 7)],
)
def test_it_reads_a_size(monkeypatch: pytest.MonkeyPatch, word: str, size: int) -> None:
    monkeypatch.setenv("SIZE", word)

    assert env.env_size("SIZE", 0) == size


@pytest.mark.parametrize(
    "url", ["", "redis://localhost", "rediss://:p%40ss@host:6380/1", "redis://[::1]:6379/0"]
)
def test_it_takes_the_url_of_a_redis_server(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("REDIS", url)

    assert env.env_redis("REDIS") == url


def test_a_url_with_a_password_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS", "http://:hunter2@host")

    with pytest.raises(ImproperlyConfigured) as caught:
        env.env_redis("REDIS")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("word", ["olla@example.com", "The gateway <olla@example.com>"])
def test_it_takes_a_sender_with_or_without_a_name(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv("SENDER", word)

    assert env.env_sender("SENDER", "olla@mini") == word


def test_it_reads_a_secret_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from the file\n")
    monkeypatch.setenv("TOKEN_FILE", str(tmp_path / "secret"))

    assert env.env_secret("TOKEN") == "from the file"


def test_it_refuses_a_secret_that_is_given_twice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOKEN", "one")
    monkeypatch.setenv("TOKEN_FILE", str(tmp_path / "two"))

    with pytest.raises(ImproperlyConfigured, match="both set"):
        env.env_secret("TOKEN")


def test_it_does_not_fall_back_when_a_secret_file_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TOKEN_FILE", str(tmp_path / "nowhere"))

    with pytest.raises(ImproperlyConfigured, match=r"TOKEN_FILE points at .*nowhere"):
        env.env_secret("TOKEN", "a default")


def test_it_refuses_an_empty_secret_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("\n")
    monkeypatch.setenv("TOKEN_FILE", str(tmp_path / "secret"))

    with pytest.raises(ImproperlyConfigured, match="is empty"):
        env.env_secret("TOKEN")


def test_it_makes_a_kept_secret_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "key"

    first = env.kept_secret("UNSET_SECRET", path)

    assert env.kept_secret("UNSET_SECRET", path) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["key"]


def test_a_secret_that_can_be_kept_nowhere_is_told_with_its_name() -> None:
    with pytest.raises(
        ImproperlyConfigured, match=r"^UNSET_SECRET must be set, or be kept in /proc/none/key"
    ):
        env.kept_secret("UNSET_SECRET", Path("/proc/none/key"))


def manage(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_settings_that_do_not_parse_are_one_sentence_on_the_terminal(tmp_path: Path) -> None:
    done = manage("doctor", OLLA_HOME=str(tmp_path), OLLA_PORT="99999")

    assert done.returncode == 1
    assert done.stderr == "The settings are wrong: OLLA_PORT must be a port, at most 65535, not 99999.\n"


def test_a_command_whose_database_is_not_prepared_says_what_to_do(tmp_path: Path) -> None:
    done = manage("list_keys", OLLA_HOME=str(tmp_path), DATABASE_URL="")

    assert done.returncode == 1
    assert done.stderr == (
        "The database lacks tables of this version. Run: manage.py migrate (serve does it by itself).\n"
    )


def test_a_command_whose_database_is_away_says_so_in_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"postgresql://olla:hunter2@127.0.0.1:{port}/olla"
    done = manage("list_keys", OLLA_HOME=str(tmp_path), DATABASE_URL=url)

    assert done.returncode == 1
    assert done.stderr.startswith("The database does not answer (OperationalError). Look at DATABASE_URL")
    assert done.stderr.count("\n") == 1
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--port", "99999"], "99999 is not between 1 and 65535"),
        (["--host", "no-such-host.invalid"], "Say where else with --host and --port."),
        (["--host", "192.0.2.1"], "That is no address of this machine"),
    ],
)
def test_serve_says_why_it_cannot_listen(tmp_path: Path, words: list[str], told: str) -> None:
    done = manage("serve", "--gateway-only", *words, OLLA_HOME=str(tmp_path))

    assert done.returncode != 0
    assert told in done.stderr
