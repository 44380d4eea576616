"""What an endpoint may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ValidationError

from endpoints.header_validation import check_credential
from endpoints.models import Endpoint

if TYPE_CHECKING:
    from pytest_django import Settings

SECRET = "tok-3c1d"


def refusal(field: str, *, credential: str = "", **fields: Any) -> str:
    """What is said against `field` of an endpoint that is right but for `fields`, empty when nothing is."""
    endpoint = Endpoint(**{"name": "mini-1", "url": "http://192.168.0.100:8000", **fields})
    endpoint.set_credential(credential)
    found: dict[str, list[str]] = {}
    try:
        endpoint.clean()
    except ValidationError as error:
        found = error.message_dict
    assert set(found) <= {field}, "nothing else is complained of"
    return " ".join(found.get(field, []))


@pytest.mark.parametrize(
    "url",
    [
        "http://192.168.0.100:8000",
        "https://mini.local",
        "http://[fe80::1]:8000",
        "http://mini.local/",
        "http://m_1:80",
    ],
)
def test_it_takes_a_plain_url(url: str) -> None:
    assert refusal("url", url=url) == ""


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mini.local:8000", "must start with http:// or https://"),
        ("ftp://mini.local", "must start with http:// or https://"),
        ("http://", "no valid host"),
        ("http://:8000", "no valid host"),
        ("http://me:pw@mini.local", "must not hold credentials"),
        ("http://me@mini.local", "must not hold credentials"),
        ("http://mini.local:0", "between 1 and 65535"),
        ("http://mini.local:", "between 1 and 65535"),
        ("http://mini.local:99999", "does not parse"),
        ("http://mini.local:http", "does not parse"),
        ("http://[::1", "does not parse"),
        ("http://mini.local?x=1", "must not have a query"),
        ("http://mini.local#x", "must not have a query"),
        ("http://mini local", "must not hold spaces"),
        ("http://mini.local\r\nX: 1", "must not hold spaces"),
        ("http://mini.local/v1", "not used unless “preserve path” is on"),
    ],
)
def test_it_refuses_a_url_that_cannot_work(url: str, sentence: str) -> None:
    assert sentence in refusal("url", url=url)


def test_a_password_in_the_url_is_not_repeated() -> None:
    assert "hunter2" not in refusal("url", url="http://me:hunter2@mini.local")


def test_a_path_is_fine_when_it_is_preserved() -> None:
    assert refusal("url", url="http://mini.local/llm", preserve_path=True) == ""


@pytest.mark.parametrize("name", ["", " mini", "mini ", "m" * 65, "mäni", "mini\n", "mini\r\nX-Evil: 1"])
def test_it_refuses_a_name_that_no_header_can_carry(name: str) -> None:
    assert "printable ASCII" in refusal("name", name=name)


@pytest.mark.parametrize("name", ["m", "vllm-mlx-server", "Mac Studio (attic)", "m" * 64])
def test_it_takes_a_name_that_a_header_can_carry(name: str) -> None:
    assert refusal("name", name=name) == ""


def test_it_refuses_an_unknown_type() -> None:
    assert "Known types: " in refusal("type", type="ollama9")


@pytest.mark.parametrize("seconds", [0, 0.5, 24 * 3600 + 1, float("nan"), float("inf"), -5])
def test_the_interval_is_between_a_second_and_a_day(seconds: float) -> None:
    said = refusal("check_interval_seconds", check_interval_seconds=seconds, check_timeout_seconds=0.1)
    assert "between 1s and 24h" in said


@pytest.mark.parametrize("seconds", [5, 5.5, 60])
def test_the_timeout_is_below_the_interval(seconds: float) -> None:
    said = refusal("check_timeout_seconds", check_timeout_seconds=seconds)
    assert "must be shorter than the check interval (5s)" in said


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_the_timeout_is_above_nothing(seconds: float) -> None:
    assert "longer than nothing" in refusal("check_timeout_seconds", check_timeout_seconds=seconds)


@pytest.mark.parametrize("field", ["model_url", "health_check_url"])
@pytest.mark.parametrize(
    "value",
    ["health", "//evil/health", "/he alth", "/h#x", "ftp://x/health", "http://a:b@x/health", "/h\r\n"],
)
def test_it_refuses_a_check_url_that_cannot_work(field: str, value: str) -> None:
    assert refusal(field, **{field: value})


@pytest.mark.parametrize("value", ["", "/health", "/v1/models?full=1", "https://mini.local:9/health"])
def test_it_takes_a_path_or_a_whole_url(value: str) -> None:
    assert refusal("health_check_url", health_check_url=value) == ""


@pytest.mark.parametrize("globs", ["*", {"a": 1}, [1], [""], [" "], None])
def test_filters_are_lists_of_patterns(globs: Any) -> None:
    assert "list of patterns" in refusal("model_include", model_include=globs)


@pytest.mark.parametrize("name", ["Authorization", "x-api-key", "X-Auth-Token", "Cookie", "api-key"])
def test_a_credential_does_not_go_into_headers(name: str) -> None:
    said = refusal("headers", headers={name: SECRET})
    assert "Use the authentication fields" in said
    assert SECRET not in said


@pytest.mark.parametrize("name", ["Host", "Connection", "Content-Length", "transfer-encoding", "Upgrade"])
def test_headers_of_the_connection_are_the_gateways_own(name: str) -> None:
    assert "set by the gateway itself" in refusal("headers", headers={name: "x"})


@pytest.mark.parametrize("name", ["", "X Rack", "X-Rack:", "X\r\nEvil", "Räck"])
def test_it_refuses_what_is_no_header_name(name: str) -> None:
    assert "is not a header name" in refusal("headers", headers={name: "x"})


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", " padded ", 7, None, "ü", "\x00"])
def test_it_refuses_what_is_no_header_value(value: Any) -> None:
    assert "one line of text" in refusal("headers", headers={"X-Rack": value})


def test_a_header_stands_there_once() -> None:
    assert "given twice" in refusal("headers", headers={"X-Rack": "1", "x-rack": "2"})


@pytest.mark.parametrize("kind", ["bearer", "api_key"])
def test_signing_in_needs_a_credential(kind: str) -> None:
    assert "needs a credential" in refusal("auth_kind", auth_kind=kind)


def test_a_credential_needs_a_way_to_be_sent() -> None:
    assert "Choose how it is sent" in refusal("auth_kind", credential=SECRET)


@pytest.mark.parametrize("plain", ["tok\r\nX-Evil: 1", " tok", "tök"])
def test_a_token_must_fit_into_a_header_and_is_not_repeated(plain: str) -> None:
    said = refusal("auth_kind", auth_kind="bearer", credential=plain)
    assert "printable ASCII" in said
    assert plain.strip() not in said


def test_a_password_may_hold_anything() -> None:
    assert refusal("auth_kind", auth_kind="basic", auth_username="me", credential="pässwörd") == ""


def test_basic_needs_a_user_name() -> None:
    assert "needs a user name" in refusal("auth_username", auth_kind="basic", credential=SECRET)


@pytest.mark.parametrize("name", ["me:you", "me\r\n"])
def test_a_user_name_has_no_colon_and_no_line_break(name: str) -> None:
    said = refusal("auth_username", auth_kind="basic", auth_username=name, credential=SECRET)
    assert "cannot hold a colon" in said


def test_only_an_api_key_has_a_header_of_its_own() -> None:
    said = refusal("auth_header", auth_kind="bearer", credential=SECRET, auth_header="X-Token")
    assert "Only an API key" in said


@pytest.mark.parametrize("name", ["Host", "X Token", "X-Token\r\n"])
def test_an_api_key_header_is_a_header(name: str) -> None:
    said = refusal("auth_header", auth_kind="api_key", credential=SECRET, auth_header=name)
    assert "cannot carry an API key" in said


def test_a_credential_that_no_key_opens_is_said(settings: Settings) -> None:
    endpoint = Endpoint(name="mini-1", url="http://mini.local", auth_kind="bearer")
    endpoint.set_credential(SECRET)
    settings.OLLA_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(ValidationError, match="enter the credential again"):
        endpoint.clean()


@pytest.mark.parametrize(
    "field", ["connect_timeout_seconds", "first_byte_timeout_seconds", "idle_timeout_seconds"]
)
@pytest.mark.parametrize("seconds", [0, -1, float("nan"), 1e9])
def test_timeouts_are_positive(field: str, seconds: float) -> None:
    assert "longer than nothing" in refusal(field, **dict[str, Any]({field: seconds}))


def test_at_least_one_request_is_allowed() -> None:
    assert "pause the endpoint" in refusal("max_concurrent", max_concurrent=0)


def test_every_mistake_is_told_at_once() -> None:
    endpoint = Endpoint(name="", url="nonsense", type="nonsense")
    with pytest.raises(ValidationError) as caught:
        endpoint.clean()
    assert set(caught.value.message_dict) == {"name", "url", "type"}


def test_a_credential_holds_no_line_break() -> None:
    with pytest.raises(ValidationError, match="Copy it again"):
        check_credential("tok\n")
