from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from django.core.exceptions import ImproperlyConfigured

from ollaproject import env

if TYPE_CHECKING:
    from pathlib import Path


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
