"""In the admin: a connection that is tested before it is stored, and the fleet as a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from bench.ports import free_port
from endpoints.models import Endpoint
from tests.fakes import answers
from tests.fakes.upstream import FakeUpstream
from tests.pages.fleet import SECRET, add_endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.auth.models import User

    from tests.pages.conftest import SignIn

pytestmark = pytest.mark.django_db

TEST = "/admin/endpoints/endpoint/test/"
IMPORT = "/admin/endpoints/endpoint/import/"
FILE = b"""
endpoints:
  - {name: mini-1, url: "http://mini-1.test:9000", priority: 7}
  - {name: mini-2, url: "http://mini-2.test:8000"}
model_aliases:
  gpt-4o: [m1]
"""


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(models=("m1", "m2")) as made:
        yield made


def typed(url: str, **fields: str) -> dict[str, str]:
    """What the form sends when nothing but the URL was filled in."""
    return {
        "url": url,
        "type": "vllm-mlx",
        "mode": "active",
        "weight": "1",
        "retry": Endpoint().retry,
        "auth_kind": "none",
        "check_interval_seconds": "5s",
        "check_timeout_seconds": "2s",
        **fields,
    }


def test_a_connection_is_tested_and_nothing_is_stored(
    signed_in: SignIn, operator: User, upstream: FakeUpstream
) -> None:
    html = signed_in(operator).post(TEST, typed(upstream.url)).content.decode()
    assert "Healthy" in html
    assert "m1, m2" in html
    assert " ms</span>" in html
    assert not Endpoint.objects.exists()


def test_a_connection_that_fails_says_why_in_words(signed_in: SignIn, operator: User) -> None:
    html = signed_in(operator).post(TEST, typed(f"http://127.0.0.1:{free_port()}")).content.decode()
    assert "Connection refused." in html


def test_a_stored_credential_is_used_for_the_test_and_never_shown(
    signed_in: SignIn, operator: User, upstream: FakeUpstream
) -> None:
    endpoint = add_endpoint("mini-1", url=upstream.url)
    endpoint.auth_kind = "bearer"
    endpoint.set_credential(SECRET)
    endpoint.save()

    def echo(request: answers.SeenRequest) -> object:
        return answers.respond({"you said": request.header("authorization")}, status=401)(request)

    upstream.answer("/health", echo)  # type: ignore[arg-type]  # an answer that depends on what was asked
    fields = typed(upstream.url, auth_kind="bearer", endpoint=str(endpoint.pk), name="mini-1")
    html = signed_in(operator).post(TEST, fields).content.decode()
    assert "refused our credential" in html
    assert "you said" in html
    assert SECRET not in html


def test_a_mistake_in_the_form_is_explained_instead(signed_in: SignIn, operator: User) -> None:
    html = signed_in(operator).post(TEST, typed("mini-1.test")).content.decode()
    assert "must start with http:// or https://" in html


def test_who_may_not_add_endpoints_tests_none(signed_in: SignIn, onlooker: User) -> None:
    assert signed_in(onlooker).post(TEST, typed("http://mini-1.test")).status_code == 403


def test_a_file_is_looked_at_first_and_imported_when_that_is_wanted(
    signed_in: SignIn, operator: User
) -> None:
    add_endpoint("mini-1")
    client = signed_in(operator)
    looked = client.post(IMPORT, {"file": SimpleUploadedFile("fleet.yaml", FILE)})
    html = looked.content.decode()
    assert "priority: unset → 7" in html
    assert "mini-2" in html
    assert Endpoint.objects.count() == 1
    done = client.post(IMPORT, {"text": looked.context["text"]}, follow=True)
    assert "Imported: 1 added, 1 changed, 0 as they were." in done.content.decode()
    assert Endpoint.objects.get(name="mini-1").priority == 7
    exported = client.get("/admin/endpoints/endpoint/export/").content.decode()
    assert "name: mini-2" in exported
    assert "gpt-4o" in exported


def test_what_is_wrong_with_a_file_is_said_with_its_line(signed_in: SignIn, operator: User) -> None:
    bad = SimpleUploadedFile("fleet.yaml", b"endpoints:\n  - {name: a, url: nonsense, colour: red}\n")
    html = signed_in(operator).post(IMPORT, {"file": bad}).content.decode()
    assert "Nothing was imported" in html
    assert "fleet.yaml:2" in html
    assert not Endpoint.objects.exists()


def test_a_file_may_not_reach_for_what_is_on_this_machine(signed_in: SignIn, operator: User) -> None:
    text = b'endpoints:\n  - {name: a, url: "http://a.test", auth: {type: bearer, token_file: /etc/passwd}}\n'
    html = signed_in(operator).post(IMPORT, {"file": SimpleUploadedFile("f.yaml", text)}).content.decode()
    assert "Nothing was imported" in html
    assert "root:" not in html
