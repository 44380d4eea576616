"""The mail server's URL, and the gateway's own."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured

from ollaproject.alert_settings import public_url, server_of


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("", ("", 0, "", "", "")),
        ("smtp://localhost", ("localhost", 25, "", "", "smtp")),
        (
            "smtp+starttls://olla:p%40ss@mail.test",
            ("mail.test", 587, "olla", "p@ss", "smtp+starttls"),
        ),
        ("smtps://mail.test:4650", ("mail.test", 4650, "", "", "smtps")),
    ],
)
def test_it_says_where_and_how(url: str, found: tuple[str, int, str, str, str]) -> None:
    assert server_of(url) == found


@pytest.mark.parametrize("url", ["mail.test", "http://:secret@mail.test", "smtp://", "smtp://m:port"])
def test_what_it_cannot_be_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="Write it like smtp\\+starttls://") as caught:
        server_of(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("", ""),
        ("https://llm.example.com/", "https://llm.example.com"),
        ("http://mini.local:40114", "http://mini.local:40114"),
    ],
)
def test_the_gateways_own_url_has_no_slash_at_its_end(url: str, found: str) -> None:
    assert public_url(url) == found


@pytest.mark.parametrize(
    "url",
    [
        "llm.example.com",
        "ftp://llm",
        "https://",
        "https://a:b@llm",
        "https://llm/?x",
        "https://l m",
        "http://l:p",
    ],
)
def test_what_is_no_url_of_a_gateway_is_refused(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="OLLA_PUBLIC_URL"):
        public_url(url)
