"""An endpoint's form in the admin: what it takes, stores, refuses and finds out by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib.admin.models import LogEntry

from endpoints.choices import Status
from endpoints.models import Endpoint
from tests.fakes import servers
from tests.fakes.upstream import FakeUpstream
from tests.pages.admin_form import ADD, GOOD, change_url
from tests.pages.fleet import add_endpoint

if TYPE_CHECKING:
    from django.test import Client

pytestmark = pytest.mark.django_db


def test_a_name_and_a_url_are_enough(client: Client) -> None:
    html = client.get(ADD).content.decode()
    assert 'value="5s"' in html
    assert 'value="2s"' in html
    assert '<option value="vllm-mlx" selected>' in html
    assert client.post(ADD, GOOD).status_code == 302
    endpoint = Endpoint.objects.get()
    assert (endpoint.check_interval_seconds, endpoint.check_timeout_seconds) == (5, 2)
    assert endpoint.health.status == Status.UNKNOWN


def test_everything_that_can_be_typed_is_stored_as_meant(client: Client) -> None:
    typed = {
        **GOOD,
        "check_interval_seconds": "1m30s",
        "check_timeout_seconds": "500ms",
        "first_byte_timeout_seconds": "5m",
        "model_include": "mlx-community/*\n\n  qwen-*  ",
        "model_exclude": "*-draft",
        "headers": "X-Team: research\nX-Trace:  a:b ",
        "priority": "0",
    }
    assert client.post(ADD, typed).status_code == 302
    endpoint = Endpoint.objects.get()
    assert endpoint.check_interval_seconds == 90
    assert endpoint.check_timeout_seconds == 0.5
    assert endpoint.first_byte_timeout_seconds == 300
    assert endpoint.model_include == ["mlx-community/*", "qwen-*"]
    assert endpoint.model_exclude == ["*-draft"]
    assert endpoint.headers == {"X-Team": "research", "X-Trace": "a:b"}
    assert endpoint.priority == 0


def test_what_is_stored_comes_back_as_it_is_typed(client: Client) -> None:
    endpoint = add_endpoint(
        "mini-1",
        check_interval_seconds=90,
        model_include=["a*", "b"],
        headers={"X-Team": "r"},
        idle_timeout_seconds=0.5,
    )
    form = client.get(change_url(endpoint)).context["adminform"].form
    assert form["check_interval_seconds"].value() == "1m30s"
    assert form["idle_timeout_seconds"].value() == "500ms"
    assert form["model_include"].value() == "a*\nb"
    assert form["headers"].value() == "X-Team: r"


def test_saving_an_untouched_form_changes_nothing(client: Client) -> None:
    endpoint = add_endpoint("mini-1", check_interval_seconds=7.5, model_exclude=["x"], headers={"X-A": "b"})
    form = client.get(change_url(endpoint)).context["adminform"].form
    typed = {name: form[name].value() for name in form.fields if form[name].value() not in (None, False)}
    assert client.post(change_url(endpoint), typed).status_code == 302
    assert LogEntry.objects.get().get_change_message() == "No fields changed."


@pytest.mark.parametrize(
    ("field", "typed", "sentence"),
    [
        ("url", "ftp://mini", "must start with http:// or https://"),
        ("url", "http://user:pass@mini", "must not hold credentials"),
        ("url", "mini:8000", "must start with http:// or https://"),
        ("name", "mini\u20281", "printable ASCII"),
        ("type", "mainframe", "mainframe"),
        ("check_interval_seconds", "often", "is not a duration"),
        ("check_interval_seconds", "500ms", "between 1s and 24h"),
        ("check_timeout_seconds", "10s", "shorter than the check interval"),
        ("check_timeout_seconds", "", "required"),
        ("idle_timeout_seconds", "0", "longer than nothing"),
        ("headers", "X-Team research", "Line 1 has no colon"),
        ("headers", "X-A: 1\nx-a: 2", "Line 2 gives the header x-a again"),
        ("headers", "Authorization: Bearer x", "authentication fields"),
        ("headers", "Host: elsewhere", "set by the gateway itself"),
        ("auth_kind", "bearer", "needs a credential"),
        ("auth_username", "ada", "only used with Basic"),
        ("max_concurrent", "0", "At least one request"),
        ("weight", "0", "greater than or equal to 1"),
    ],
)
def test_a_mistake_is_explained_beside_its_field(
    client: Client, field: str, typed: str, sentence: str
) -> None:
    response = client.post(ADD, {**GOOD, field: typed})
    assert response.status_code == 200
    assert sentence in " ".join(response.context["adminform"].form.errors[field])
    assert not Endpoint.objects.exists()


def test_two_endpoints_cannot_have_one_name(client: Client) -> None:
    add_endpoint("mini-1")
    response = client.post(ADD, GOOD)
    assert "Another endpoint has this name" in str(response.context["adminform"].form.errors["name"])


def test_the_type_can_be_detected(client: Client) -> None:
    with FakeUpstream() as upstream:
        upstream.become(servers.llamacpp())
        assert client.post(ADD, {**GOOD, "url": upstream.url, "type": "auto"}).status_code == 302
    assert Endpoint.objects.get().type == "llamacpp"


def test_a_type_that_cannot_be_detected_is_to_be_chosen(client: Client) -> None:
    response = client.post(ADD, {**GOOD, "url": "http://127.0.0.1:9", "type": "auto"})
    assert "The type cannot be detected" in response.content.decode()
    assert not Endpoint.objects.exists()


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/v1", "", "127.0.0.1:9"])
def test_a_wrong_url_has_one_sentence_also_when_the_type_is_to_be_detected(client: Client, url: str) -> None:
    form = client.post(ADD, {**GOOD, "url": url, "type": "auto"}).context["adminform"].form

    assert {name: len(told) for name, told in form.errors.items()} == {"url": 1}


def test_a_mistake_is_told_in_the_readers_language(client: Client) -> None:
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = "de"
    html = client.post(ADD, {**GOOD, "url": "ftp://mini-1.test", "retry": "never"}).content.decode()
    assert "Die URL muss mit http:// oder https:// beginnen." in html
