"""What a person can misconfigure is found before it does harm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ollaproject.checks import allowed_hosts_are_hosts, backend_types_are_types, peppers_are_secrets

if TYPE_CHECKING:
    from django.conf import LazySettings


@pytest.mark.parametrize(("peppers", "found"), [(["x" * 50], 0), (["x" * 50, ""], 1), (["short"], 1)])
def test_a_pepper_that_can_be_guessed_is_an_error(
    settings: LazySettings, peppers: list[str], found: int
) -> None:
    settings.OLLA_KEY_PEPPERS = peppers

    assert len(peppers_are_secrets()) == found


@pytest.mark.parametrize(
    ("globs", "unknown"),
    [
        ([], []),
        (["vllm*", "ollama"], []),
        (["!litellm"], []),
        (["olama", "!lite"], ["'olama'", "'!lite'"]),
    ],
)
def test_a_backend_type_that_there_is_not_is_an_error(
    settings: LazySettings, globs: list[str], unknown: list[str]
) -> None:
    settings.OLLA_BACKEND_TYPES = globs

    found = backend_types_are_types()

    assert [error.msg.split("names ")[1].split(",")[0] for error in found] == unknown
    assert all("ollama" in str(error.hint) for error in found)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("llm.example.com", 0),
        ("mini_1", 0),
        ("10.0.0.5", 0),
        ("[::1]", 0),
        (".example.com", 0),
        ("*", 0),
        ("https://llm.example.com", 1),
        ("llm.example.com:443", 1),
        ("llm.example.com/v1", 1),
        ("a b", 1),
        ("*.example.com", 1),
    ],
)
def test_what_is_no_name_of_a_host_is_an_error(
    monkeypatch: pytest.MonkeyPatch, name: str, found: int
) -> None:
    monkeypatch.setenv("OLLA_ALLOWED_HOSTS", f"gateway.example.com, {name}")

    assert len(allowed_hosts_are_hosts()) == found
