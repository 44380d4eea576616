"""The pages of models: what each is, where it is served, its use, and where a request would go."""

from __future__ import annotations

import html
import re
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from django.core.management import call_command
from django.utils import translation

from endpoints.choices import Status
from endpoints.models import AliasedModel, EndpointModel, ModelAlias
from endpoints.routing import routing_table
from endpoints.routing.snapshot import install, snapshot
from endpoints.templatetags.fleet import family_word
from ollaproject.wire.clock import now
from proxy.models import UsageTotal
from tests.pages.fleet import add_endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.auth.models import User
    from pytest_django import DjangoAssertNumQueries

    from tests.pages.conftest import SignIn

pytestmark = pytest.mark.django_db

LLAMA = "mlx-community/Llama-3.2-3B-Instruct-4bit"


@pytest.fixture(autouse=True)
def own_table() -> Iterator[None]:
    before = snapshot()
    yield
    install(before)


def load() -> None:
    """What a web process does when the fleet has changed."""
    install(routing_table.build(revision=1))


@pytest.mark.parametrize(
    ("family", "word"),
    [("smollm", "SmolLM"), ("qwen", "Qwen"), ("qwen2MoE", "Qwen2MoE"), ("unknown", "Unknown")],
)
def test_a_family_is_written_as_its_makers_do(family: str, word: str) -> None:
    with translation.override("en"):
        assert family_word(family) == word


def test_the_catalogue_says_what_a_name_and_a_backend_tell(signed_in: SignIn, member: User) -> None:
    add_endpoint("mini-1", models=(LLAMA,))
    EndpointModel.objects.update(max_model_len=131072, is_loaded=True)
    add_endpoint("mini-2", models=(LLAMA,), status=Status.OFFLINE)
    alias = ModelAlias.objects.create(name="small")
    AliasedModel.objects.create(alias=alias, model=LLAMA)
    UsageTotal.objects.create(
        day=now().date(),
        model=LLAMA,
        requests=12,
        begun=10,
        timed_tokens=500,
        writing_ms=10_000,
    )
    load()
    html = signed_in(member).get("/models/").content.decode()
    for piece in (
        "Llama",
        "3B",
        "4bit",
        "131,072",
        "in memory",
        "mini-2: offline",
        "small",
        "50.0 tok/s",
        ">12<",
    ):
        assert piece in html


@pytest.mark.parametrize(
    ("query", "shown"), [("?q=LLAMA", True), ("?q=qwen", False), ("?can=embeddings", False)]
)
def test_the_url_says_which_models_are_shown(
    signed_in: SignIn, member: User, *, query: str, shown: bool
) -> None:
    add_endpoint("mini-1", models=(LLAMA,))
    load()
    html = signed_in(member).get(f"/models/{query}").content.decode()
    assert (LLAMA in html) == shown


def test_a_model_s_page_says_where_a_request_would_go_and_why(signed_in: SignIn, member: User) -> None:
    add_endpoint("mini-1", models=(LLAMA,), priority=90)
    add_endpoint("mini-2", models=(LLAMA,), priority=10)
    add_endpoint("mini-3", models=(LLAMA,), status=Status.OFFLINE, reason="connection refused")
    add_endpoint("mini-4", models=("other",))
    load()
    html = signed_in(member).get(f"/models/{LLAMA}/").content.decode()
    for piece in (
        "To mini-1.",
        "On an idle gateway it goes to mini-1, then to mini-2.",
        "mini-3 is offline (connection refused).",
        "1 endpoint has nothing to do with it",
    ):
        assert piece in " ".join(html.split())


def test_the_page_explains_a_request_in_the_command_s_words(signed_in: SignIn, member: User) -> None:
    add_endpoint("mini-1", models=(LLAMA,))
    load()
    out = StringIO()
    call_command("route", "--model", LLAMA, "--tools", "--tokens", "9000", stdout=out)
    page = signed_in(member).get(f"/models/{LLAMA}/?tools=on&tokens=9000").content.decode()
    said = re.findall(r"^\d+\. (.*)$", out.getvalue(), re.MULTILINE)
    assert len(said) > 5
    assert [html.unescape(each) for each in re.findall(r"<li>(.*?)</li>", between(page))] == said


def test_the_page_explains_in_the_readers_language_and_quotes_refusals_as_clients_get_them(
    signed_in: SignIn, member: User
) -> None:
    add_endpoint("mini-1", models=(LLAMA,))
    add_endpoint("mini-2", models=(LLAMA,), status=Status.OFFLINE, reason="connection refused")
    load()
    client = signed_in(member)
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = "de"
    explained = client.get(f"/models/{LLAMA}/?tools=on").content.decode()
    refused = client.get("/models/unknown/").content.decode()
    assert f"Eine Anfrage für {LLAMA} mit Werkzeugen durch den Eingang" in explained
    assert "1 von 2 Endpunkten können sie jetzt beantworten." in explained
    assert "mini-2: nicht erreichbar (connection refused)." in explained
    assert "Sie wird mit 404 abgelehnt: No endpoint serves the model" in html.unescape(refused)


def between(page: str) -> str:
    return page.partition('<ol class="reasons">')[2].partition("</ol>")[0]


def test_an_alias_has_a_page_that_leads_to_its_models(signed_in: SignIn, member: User) -> None:
    add_endpoint("mini-1", models=(LLAMA,))
    AliasedModel.objects.create(alias=ModelAlias.objects.create(name="small"), model=LLAMA)
    load()
    response = signed_in(member).get("/models/small/")
    assert response.status_code == 200
    assert f'href="/models/{LLAMA}/"' in response.content.decode()


def test_a_pattern_is_listed_with_what_it_leads_to(signed_in: SignIn, member: User) -> None:
    add_endpoint("mini-1", models=(LLAMA,))
    AliasedModel.objects.create(alias=ModelAlias.objects.create(name="claude-*"), model=LLAMA)
    load()
    html = signed_in(member).get("/models/").content.decode()
    assert f'<li><span>claude-*</span><span class="muted">{LLAMA}</span>' in html


def test_a_model_that_nobody_has_says_how_it_would_be_refused(signed_in: SignIn, member: User) -> None:
    add_endpoint("mini-1", models=(LLAMA,))
    load()
    response = signed_in(member).get("/models/<b>nothing</b>/")
    assert response.status_code == 404
    assert "refused with 404" in response.content.decode()
    assert "<b>nothing" not in response.content.decode()


def test_no_model_at_all_says_what_happens_next(signed_in: SignIn, member: User) -> None:
    load()
    assert "No model was found yet." in signed_in(member).get("/models/").content.decode()


def test_the_catalogue_costs_the_same_few_queries_however_large(
    signed_in: SignIn, member: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(50):
        add_endpoint(
            f"mini-{number}", models=tuple(f"org/Model-{number}-{each}-3B-4bit" for each in range(4))
        )
    load()
    client = signed_in(member)
    # Session, user, and what was used; the routing table is in memory.
    with django_assert_num_queries(5):
        assert len(client.get("/models/").content) < 250_000
