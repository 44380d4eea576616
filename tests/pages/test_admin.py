"""The endpoint in the admin: what the form takes, refuses and never shows, and what the buttons do."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.admin.models import LogEntry

from endpoints.choices import AuthKind, Mode, Status
from endpoints.models import Endpoint, HealthCheck, Transition
from ollaproject.wire.clock import now
from tests.fakes import servers
from tests.fakes.upstream import FakeUpstream
from tests.pages.fleet import SECRET, add_endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from django.test import Client
    from pytest_django import DjangoAssertNumQueries

    SignIn = Callable[[User | None], Client]

pytestmark = pytest.mark.django_db

LIST = "/admin/endpoints/endpoint/"
ADD = f"{LIST}add/"
GOOD: dict[str, Any] = {
    "name": "mini-1",
    "url": "http://mini-1.test:8000",
    "type": "vllm-mlx",
    "mode": "active",
    "weight": "1",
    "check_interval_seconds": "5s",
    "check_timeout_seconds": "2s",
    "auth_kind": "none",
    "retry": "safe",
}
BEARER = {**GOOD, "auth_kind": "bearer"}


@pytest.fixture
def client(signed_in: SignIn, operator: User) -> Client:
    return signed_in(operator)


def change_url(endpoint: Endpoint) -> str:
    return f"{LIST}{endpoint.pk}/change/"


def stored_secret(client: Client) -> Endpoint:
    client.post(ADD, {**BEARER, "new_credential": SECRET})
    return Endpoint.objects.get()


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


def test_a_credential_is_stored_and_never_shown_again(client: Client) -> None:
    endpoint = stored_secret(client)
    assert endpoint.credential() == SECRET
    pages = [
        change_url(endpoint),
        LIST,
        f"{LIST}{endpoint.pk}/history/",
        f"{LIST}{endpoint.pk}/delete/",
        "/admin/",
        "/",
    ]
    for url in pages:
        html = client.get(url).content.decode()
        assert SECRET not in html
        assert endpoint.encrypted_credential not in html
    assert "A credential is stored" in client.get(change_url(endpoint)).content.decode()


def test_a_credential_is_not_repeated_in_a_form_with_errors(client: Client) -> None:
    response = client.post(ADD, {**BEARER, "new_credential": SECRET, "url": "nonsense"})
    assert response.status_code == 200
    assert SECRET not in response.content.decode()


def test_a_credential_is_not_shown_to_those_who_may_only_look(
    client: Client, signed_in: SignIn, onlooker: User
) -> None:
    endpoint = stored_secret(client)
    html = signed_in(onlooker).get(change_url(endpoint)).content.decode()
    assert endpoint.name in html
    assert SECRET not in html
    assert endpoint.encrypted_credential not in html


def test_a_credential_is_not_in_the_log_of_changes(client: Client) -> None:
    endpoint = stored_secret(client)
    client.post(change_url(endpoint), {**BEARER, "new_credential": f"{SECRET}-2"})
    client.post(f"{LIST}{endpoint.pk}/delete/", {"post": "yes"})
    assert LogEntry.objects.count() == 3
    for entry in LogEntry.objects.all():
        assert SECRET not in f"{entry.object_repr}{entry.change_message}"


def test_an_edit_without_a_new_credential_keeps_the_stored_one(client: Client) -> None:
    endpoint = stored_secret(client)
    assert client.post(change_url(endpoint), {**BEARER, "weight": "3"}).status_code == 302
    endpoint.refresh_from_db()
    assert (endpoint.weight, endpoint.credential()) == (3, SECRET)


def test_the_stored_one_is_not_sent_elsewhere_to_detect_a_type_there(
    client: Client,
) -> None:
    endpoint = stored_secret(client)
    with FakeUpstream() as upstream:
        response = client.post(change_url(endpoint), {**BEARER, "url": upstream.url, "type": "auto"})
        assert "was not entered for 127.0.0.1" in response.content.decode()
        assert upstream.requests == []


def test_a_new_credential_replaces_the_stored_one(client: Client) -> None:
    endpoint = stored_secret(client)
    assert client.post(change_url(endpoint), {**BEARER, "new_credential": "other"}).status_code == 302
    assert Endpoint.objects.get().credential() == "other"


def test_a_stored_credential_can_be_removed(client: Client) -> None:
    endpoint = stored_secret(client)
    assert client.post(change_url(endpoint), {**GOOD, "remove_credential": "on"}).status_code == 302
    endpoint.refresh_from_db()
    assert (endpoint.auth_kind, endpoint.has_credential) == (AuthKind.NONE, False)


def test_a_password_may_hold_letters_of_any_language(client: Client) -> None:
    basic = {**GOOD, "auth_kind": "basic", "auth_username": "ada"}
    assert client.post(ADD, {**basic, "new_credential": "Fußgängerübergang"}).status_code == 302
    assert Endpoint.objects.get().credential() == "Fußgängerübergang"


def test_a_token_that_no_header_can_carry_is_refused_without_repeating_it(client: Client) -> None:
    response = client.post(ADD, {**BEARER, "new_credential": "tök"})
    assert "Copy it again" in str(response.context["adminform"].form.errors)
    assert "tök" not in response.content.decode()


def test_a_credential_is_not_replaced_and_removed_at_once(client: Client) -> None:
    endpoint = stored_secret(client)
    response = client.post(
        change_url(endpoint), {**BEARER, "new_credential": "other", "remove_credential": "on"}
    )
    assert "Do one or the other" in response.content.decode()
    assert Endpoint.objects.get().credential() == SECRET


@pytest.mark.parametrize("number", [1, 50])
def test_the_list_costs_the_same_few_queries_however_long(
    client: Client, django_assert_num_queries: DjangoAssertNumQueries, number: int
) -> None:
    for index in range(number):
        add_endpoint(f"mini-{index}", models=("a", "b", "c"))
    client.get(LIST)
    # Session, user, two of permissions; the types for the filter; two counts; endpoints with health; models.
    with django_assert_num_queries(9):
        client.get(LIST)


def test_the_list_says_how_each_endpoint_is(client: Client) -> None:
    add_endpoint("mini-2", status=Status.OFFLINE, reason="connection refused", models=("a", "b", "c"))
    html = client.get(LIST).content.decode()
    for piece in ("Offline</span>", "Connection refused", "12 ms", "2 s ago", "1 min", "<li>+1 more</li>"):
        assert piece in html


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("status=offline", {"down"}),
        ("mode=paused", {"resting"}),
        ("type=openai-compatible", {"other"}),
        ("q=qwen", {"down"}),
        ("q=other.test", {"other"}),
    ],
)
def test_the_list_can_be_filtered_and_searched(client: Client, query: str, found: set[str]) -> None:
    add_endpoint("down", status=Status.OFFLINE, models=("qwen-1", "qwen-2"))
    add_endpoint("resting", mode=Mode.PAUSED)
    add_endpoint("other", type="openai-compatible")
    assert {endpoint.name for endpoint in client.get(f"{LIST}?{query}").context["cl"].result_list} == found


def test_the_change_page_shows_recent_checks_and_transitions(client: Client) -> None:
    endpoint = add_endpoint("mini-1")
    for number in range(25):
        HealthCheck.objects.create(endpoint=endpoint, at=now(), status="offline", reason=f"reason {number}")
    Transition.objects.create(
        endpoint=endpoint, at=now(), old_status="healthy", new_status="offline", reason="it broke"
    )
    response = client.get(change_url(endpoint))
    assert len(response.context["checks"]) == 20
    assert b"it broke" in response.content


def test_what_checks_write_cannot_be_edited_by_hand(client: Client) -> None:
    for model in ("healthcheck", "transition", "endpointmodel", "endpointhealth", "revision"):
        assert client.get(f"/admin/endpoints/{model}/").status_code == 404


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ("activate", "Put b in service. It is checked now. 1 left as it was."),
        ("check", "Checking a now. 1 left as it was."),
    ],
)
def test_a_bulk_action_acts_where_it_makes_sense_and_says_so(client: Client, action: str, words: str) -> None:
    chosen = [add_endpoint("a").pk, add_endpoint("b", mode=Mode.PAUSED).pk]
    response = client.post(LIST, {"action": action, "_selected_action": chosen}, follow=True)
    assert words in response.content.decode()
    assert Endpoint.objects.get(name="a").mode == Mode.ACTIVE


def test_taking_out_of_service_asks_first_and_takes_whole_hosts_if_wanted(client: Client) -> None:
    chat = add_endpoint("chat", url="http://studio.local:8000")
    add_endpoint("embed", url="http://studio.local:8001")
    add_endpoint("other")
    asked = client.post(LIST, {"action": "maintain", "_selected_action": [chat.pk]}, follow=True)
    html = asked.content.decode()
    assert "Also embed." in html
    assert set(Endpoint.objects.values_list("mode", flat=True)) == {Mode.ACTIVE}

    url = asked.redirect_chain[-1][0]
    assert "neither a time nor a duration" in client.post(url, {"until": "soon"}).content.decode()
    done = client.post(url, {"until": "90m", "whole_host": "on"}, follow=True).content.decode()

    assert "2 endpoints in maintenance until" in done
    modes = dict(Endpoint.objects.values_list("name", "mode"))
    assert modes == {"chat": Mode.MAINTENANCE, "embed": Mode.MAINTENANCE, "other": Mode.ACTIVE}
    chat.refresh_from_db()
    assert chat.maintenance_until is not None
    assert now() + timedelta(minutes=89) < chat.maintenance_until < now() + timedelta(minutes=91)


def test_one_that_has_its_host_for_itself_is_drained_after_one_question(client: Client) -> None:
    chosen = add_endpoint("mini-1")
    asked = client.post(LIST, {"action": "drain", "_selected_action": [chosen.pk]}, follow=True)
    assert "All endpoints of these hosts" not in asked.content.decode()
    assert "Draining mini-1" in client.post(asked.redirect_chain[-1][0], follow=True).content.decode()
    assert Endpoint.objects.get().mode == Mode.DRAINING
    assert client.get(f"{LIST}operate/delete/?ids={chosen.pk}").status_code == 404


def test_a_button_of_the_form_acts_says_so_and_is_logged(client: Client) -> None:
    endpoint = add_endpoint("mini-1")
    response = client.post(f"{LIST}{endpoint.pk}/press/pause/", follow=True)
    assert "Paused mini-1" in response.content.decode()
    assert LogEntry.objects.get().get_change_message() == "Pause."
    endpoint.refresh_from_db()
    assert endpoint.mode == Mode.PAUSED


def test_deleting_asks_first_and_counts_what_goes_with_it(client: Client) -> None:
    endpoint = add_endpoint("mini-1")
    HealthCheck.objects.bulk_create(
        HealthCheck(endpoint=endpoint, at=now(), status="healthy") for _ in range(300)
    )
    html = client.get(f"{LIST}{endpoint.pk}/delete/").content.decode()
    assert "300" in html
    assert len(html) < 20_000
    client.post(f"{LIST}{endpoint.pk}/delete/", {"post": "yes"})
    assert not Endpoint.objects.exists()
    assert not HealthCheck.objects.exists()


def test_the_type_can_be_detected(client: Client) -> None:
    with FakeUpstream() as upstream:
        upstream.become(servers.llamacpp())
        assert client.post(ADD, {**GOOD, "url": upstream.url, "type": "auto"}).status_code == 302
    assert Endpoint.objects.get().type == "llamacpp"


def test_a_type_that_cannot_be_detected_is_to_be_chosen(client: Client) -> None:
    response = client.post(ADD, {**GOOD, "url": "http://127.0.0.1:9", "type": "auto"})
    assert "The type cannot be detected" in response.content.decode()
    assert not Endpoint.objects.exists()
