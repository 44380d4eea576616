"""URLs of Unix sockets: the ways of writing one, what each of them leads to, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollaproject.wire.socket_urls import (
    SocketUrl,
    SocketUrlError,
    host_of,
    normalised,
    read,
    server_of,
    shown,
    written,
)

URL = "http+unix://%2Frun%2Fmlx%2Fserver.sock"


@pytest.mark.parametrize(
    ("url", "path", "http"),
    [
        (URL, "/run/mlx/server.sock", "http://localhost"),
        (f"{URL}/", "/run/mlx/server.sock", "http://localhost/"),
        (f"{URL}/llm/v1/models?full=1", "/run/mlx/server.sock", "http://localhost/llm/v1/models?full=1"),
        ("HTTP+UNIX://%2frun%2fA%3AB.sock", "/run/A:B.sock", "http://localhost"),
        ("http+unix://%2FUsers%2Fada%2FMy%20Models%2F%C3%A4.sock", "/Users/ada/My Models/ä.sock", "http://localhost"),
    ],
)  # fmt: skip
def test_it_leads_to_a_socket(url: str, path: str, http: str) -> None:
    assert read(url) == SocketUrl(path, http)


@pytest.mark.parametrize("url", ["", "http://unix:80", "https://[::1", "unix:/run/x.sock", "/run/x.sock"])
def test_other_urls_lead_to_none(url: str) -> None:
    assert read(url) is None


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http+unix://run%2Fx.sock", "must be absolute"),
        ("http+unix://me:pw@%2Frun%2Fx.sock", "must be absolute"),
        ("http+unix:///run/x.sock", "must be absolute"),
        ("http+unix://", "must be absolute"),
        (f"{URL}:8000", "has no port"),
        ("http+unix://%2Frun%2F%0A.sock", "must be printable"),
        ("http+unix://%2Frun%2F%00.sock", "must be printable"),
        ("http+unix://%2Frun%2F%FF.sock", "does not parse"),
        ("http+unix://[%2Frun", "does not parse"),
    ],
)
def test_why_it_leads_nowhere_is_said(url: str, sentence: str) -> None:
    with pytest.raises(SocketUrlError, match=sentence):
        read(url)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("unix:/run/mlx/server.sock", URL),
        ("unix:///run/mlx/server.sock", URL),
        ("http://unix:/run/mlx/server.sock", URL),
        ("unix:/run/mlx/server.sock:/llm", f"{URL}/llm"),
        ("http+unix://%2frun%2fmlx%2Fserver%2Esock/llm", f"{URL}/llm"),
        ("unix:/run/my models.sock", "http+unix://%2Frun%2Fmy%20models.sock"),
    ],
)
def test_every_way_of_writing_it_is_one_url(text: str, url: str) -> None:
    assert normalised(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "http://mini.local:8000",
        "http://unix:8000",
        "unix:run/x.sock",
        "unix://run/x.sock",
        "unix:/run/a%20b.sock",  # a percent sign of its own, or a space?
        "unix:/run/x.sock?a=1",
        "http+unix:///run/x.sock/v1",  # where would the socket end?
        f"{URL}:8000",
    ],
)
def test_what_is_something_else_or_could_be_read_in_two_ways_is_left_alone(text: str) -> None:
    assert normalised(text) == text


@pytest.mark.parametrize(
    ("url", "text"),
    [
        (URL, "unix:/run/mlx/server.sock"),
        (f"{URL}/llm", "unix:/run/mlx/server.sock:/llm"),
        ("http+unix://%2Frun%2Fa%253Ab.sock", "http+unix://%2Frun%2Fa%253Ab.sock"),
        ("http+unix://%2Frun%2Fa%3A%2Fb.sock", "http+unix://%2Frun%2Fa%3A%2Fb.sock"),
        ("http+unix://x", "http+unix://x"),
        ("http://mini.local:8000/llm", "http://mini.local:8000/llm"),
    ],
)
def test_people_see_the_path_where_that_says_it_all(url: str, text: str) -> None:
    assert shown(url) == text


absolute_paths = st.text(st.characters(codec="utf-8"), min_size=1).filter(str.isprintable).map("/{}".format)
base_paths = st.just("") | st.text("abc/.-_~%:", max_size=9).map("/{}".format)


@given(path=absolute_paths, base=base_paths)
def test_what_is_written_is_read_again_and_shown_without_a_second_meaning(path: str, base: str) -> None:
    url = written(path, base)
    assert read(url) == SocketUrl(path, f"http://localhost{base}")
    assert normalised(url) == url
    assert normalised(shown(url)) == url


def test_which_server_and_which_host_it_is() -> None:
    assert (server_of(f"{URL}/llm"), host_of(URL)) == ("unix:/run/mlx/server.sock", "localhost")
    assert (server_of("http://Mini.local:8000/llm"), host_of("http://Mini.local:8000")) == (
        "Mini.local:8000",
        "mini.local",
    )
