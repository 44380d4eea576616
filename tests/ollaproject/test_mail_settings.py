"""The mail server's URL."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured

from ollaproject.mail_settings import server_of


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
