"""The fleet over REST: the same rules, words and history as in the admin and in files."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from endpoints.choices import Mode, Status
from endpoints.files import yaml_io
from endpoints.models import Change, Endpoint, ModelAlias, Transition
from endpoints.rest.serializers import EndpointSerializer
from ollaproject.wire.clock import now
from tests.fakes import answers, servers
from tests.pages.fleet import SECRET, add_endpoint

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from pytest_django import DjangoAssertNumQueries
    from rest_framework.test import APIClient

    from tests.api.conftest import SignIn
    from tests.fakes.upstream import FakeUpstream

pytestmark = pytest.mark.django_db

ENDPOINTS = "/api/endpoints/"
GOOD: dict[str, Any] = {"name": "mini-1", "url": "http://mini-1.test:8000", "type": "openai", "priority": 80}


def test_what_is_added_can_be_read_with_the_keys_of_files(client: APIClient) -> None:
    more = {
        "check_interval": "1m30s",
        "idle_timeout": None,
        "model_filter": {"include": ["mlx-*"]},
        "headers": {"X-Rack": " 4"},
    }
    refused = client.post(ENDPOINTS, {**GOOD, **more})
    assert refused.json()["error"]["param"] == "headers"
    added = client.post(ENDPOINTS, {**GOOD, **more, "headers": {"X-Rack": "4"}})
    assert added.status_code == 201
    read = client.get(f"{ENDPOINTS}{added.json()['id']}/").json()
    assert read == added.json()
    assert (read["type"], read["check_interval"], read["idle_timeout"]) == (
        "openai-compatible",
        "1m30s",
        None,
    )
    assert read["model_filter"] == {"include": ["mlx-*"], "exclude": []}
    assert (read["mode"], read["health"]["status"], read["models"]) == ("active", "unknown", [])


def test_the_keys_are_those_of_endpoint_files() -> None:
    fields = EndpointSerializer().fields
    assert {name for name, field in fields.items() if not field.read_only} == set(yaml_io.KEYS)


def test_a_secret_is_written_and_never_read(client: APIClient) -> None:
    added = client.post(ENDPOINTS, {**GOOD, "auth": {"type": "bearer", "secret": SECRET}})
    assert Endpoint.objects.get().credential() == SECRET
    assert added.json()["auth"] == {"type": "bearer", "header": "", "username": "", "has_secret": True}
    for url in (ENDPOINTS, f"{ENDPOINTS}{added.json()['id']}/changes/", "/api/changes/", "/api/export/"):
        assert SECRET not in client.get(url).content.decode()


def test_a_type_is_found_out_when_that_is_wanted(client: APIClient, upstream: FakeUpstream) -> None:
    upstream.become(servers.BY_TYPE["ollama"]())
    added = client.post(ENDPOINTS, {**GOOD, "url": upstream.url, "type": "auto"})
    assert (added.status_code, added.json()["type"]) == (201, "ollama")

    upstream.become(servers.FakeServer({}, (), otherwise=answers.respond(b"<h1>It works!</h1>")))
    other = {**GOOD, "name": "mini-2", "url": upstream.url, "type": "auto"}
    refused = client.post(ENDPOINTS, other).json()["error"]
    assert refused["param"] == "type"
    assert "it answers, but like no server of models that is known here" in refused["message"]

    asked = len(upstream.requests)
    refused = client.post(ENDPOINTS, {**other, "check_timeout": "1h"}).json()["error"]
    assert (refused["param"], len(upstream.requests)) == ("check_timeout", asked)
    assert Endpoint.objects.count() == 1


def test_changing_one_field_keeps_the_rest_and_the_secret(client: APIClient) -> None:
    added = client.post(ENDPOINTS, {**GOOD, "auth": {"type": "bearer", "secret": SECRET}}).json()
    url = f"{ENDPOINTS}{added['id']}/"
    assert client.patch(url, {"weight": 3}).json()["priority"] == 80
    assert Endpoint.objects.get().credential() == SECRET
    replaced = client.put(url, {"name": "mini-1", "url": GOOD["url"]}).json()
    assert (replaced["priority"], replaced["weight"], replaced["auth"]["has_secret"]) == (None, 1, False)


def test_a_unix_socket_is_taken_as_people_write_it_and_read_as_a_url(client: APIClient) -> None:
    added = client.post(ENDPOINTS, {**GOOD, "url": "unix:/run/mlx/server.sock"}).json()
    assert added["url"] == "http+unix://%2Frun%2Fmlx%2Fserver.sock"
    url = f"{ENDPOINTS}{added['id']}/"
    assert client.patch(url, {"url": added["url"]}).json()["url"] == added["url"]
    refused = client.patch(url, {"url": "unix:mlx.sock"}).json()["error"]
    assert (refused["param"], "by its absolute path" in refused["message"]) == ("url", True)


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({**GOOD, "prioritty": 1}, "prioritty", "This field is not known."),
        ({**GOOD, "mode": "paused"}, "mode", "This field is not known."),
        ({**GOOD, "url": "mini-1"}, "url", "http://"),
        ({"url": "http://a.test"}, "name", "This field is required."),
        ({**GOOD, "type": "telepathy"}, "type", "telepathy"),
        ({**GOOD, "check_interval": 5}, "check_interval", "Write a duration as text"),
        ({**GOOD, "check_interval": "soon"}, "check_interval", "'soon' is not a duration"),
        ({**GOOD, "check_timeout": "9s"}, "check_timeout", "must be shorter than"),
        ({**GOOD, "auth": {"type": "bearer"}}, "auth.type", "needs a credential"),
        ({**GOOD, "auth": {"type": "bearer", "token": "a"}}, "auth.token", "This field is not known."),
        ({**GOOD, "model_filter": {"only": []}}, "model_filter.only", "This field is not known."),
        ({**GOOD, "headers": {"Authorization": SECRET}}, "headers", "carries a credential"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_names_its_field_in_openais_shape(
    client: APIClient, body: dict[str, Any], param: str, words: str
) -> None:
    answer = client.post(ENDPOINTS, body)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (400, "invalid_request_error", "invalid")
    assert error["param"] == param
    assert words in error["message"]
    assert words in error["fields"][param][0]
    assert SECRET not in answer.content.decode()
    assert not Endpoint.objects.exists()


def test_a_name_that_is_taken_is_refused_in_the_words_of_the_form(client: APIClient) -> None:
    add_endpoint("mini-1")
    said = client.post(ENDPOINTS, GOOD).json()["error"]
    assert said["fields"] == {
        "name": ["Another endpoint has this name. Names must differ: clients see them."]
    }


def test_filters_combine(client: APIClient) -> None:
    add_endpoint("mini-1", models=("qwen",))
    add_endpoint("mini-2", status=Status.OFFLINE, models=("qwen",))
    add_endpoint("mini-3", type="openai-compatible")

    def names(query: str) -> list[str]:
        return [one["name"] for one in client.get(f"{ENDPOINTS}?{query}").json()["results"]]

    assert names("model=qwen") == ["mini-1", "mini-2"]
    assert names("model=qwen&status=healthy") == ["mini-1"]
    assert names("type=openai-compatible") == ["mini-3"]
    assert names("name=mini-2") == ["mini-2"]
    assert names("mode=paused") == []


def test_a_list_takes_the_same_queries_however_long_it_is(
    client: APIClient, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(5):
        add_endpoint(f"mini-{number}", models=("a", "b"))
    client.get(ENDPOINTS)
    with django_assert_num_queries(7):  # session, user, permissions of user and group, count, rows, models
        assert len(client.get(ENDPOINTS).json()["results"]) == 5


@pytest.mark.parametrize(
    ("action", "mode"), [("drain", Mode.DRAINING), ("pause", Mode.PAUSED), ("activate", Mode.ACTIVE)]
)
def test_operations_are_those_of_the_buttons(client: APIClient, action: str, mode: Mode) -> None:
    endpoint = add_endpoint("mini-1", mode=Mode.PAUSED if action == "activate" else Mode.ACTIVE)
    assert client.post(f"{ENDPOINTS}{endpoint.pk}/{action}/").json()["mode"] == mode
    assert Endpoint.objects.get().mode == mode
    change = Change.objects.get()
    assert (change.actor, change.via, change.name) == ("ada", "REST API", "mini-1")


def test_maintenance_has_an_end(client: APIClient) -> None:
    url = f"{ENDPOINTS}{add_endpoint('mini-1').pk}/maintain/"
    assert client.post(url, {}).json()["error"]["param"] == "until"
    assert "over already" in client.post(url, {"until": "2001-01-01T00:00Z"}).json()["error"]["message"]
    said = client.post(url, {"until": "2h"}).json()
    assert said["mode"] == Mode.MAINTENANCE
    assert datetime.fromisoformat(said["maintenance_until"]) > now() + timedelta(minutes=119)


def test_a_whole_host_is_operated_at_once(client: APIClient) -> None:
    add_endpoint("chat", url="http://studio.local:8000")
    add_endpoint("embed", url="http://studio.local:8001")
    add_endpoint("other")
    said = client.post("/api/hosts/studio.local/", {"action": "drain"}).json()
    assert [(one["name"], one["mode"]) for one in said] == [
        ("chat", Mode.DRAINING),
        ("embed", Mode.DRAINING),
    ]
    assert Endpoint.objects.get(name="other").mode == Mode.ACTIVE
    assert client.post("/api/hosts/studio.local/", {"action": "maintain"}).json()["error"]["param"] == "until"
    assert client.post("/api/hosts/nowhere/", {"action": "drain"}).status_code == 404


def test_who_may_change_endpoints_may_operate_them(signed_in: SignIn, operator: User) -> None:
    url = f"{ENDPOINTS}{add_endpoint('mini-1').pk}/drain/"
    operator.user_permissions.set(
        operator.user_permissions.filter(codename__in=("change_endpoint", "view_endpoint"))
    )
    assert signed_in(operator).post(url).status_code == 200
    operator.user_permissions.set(operator.user_permissions.filter(codename="view_endpoint"))
    assert signed_in(operator).post(url).status_code == 403


def test_its_past_can_be_read(client: APIClient) -> None:
    endpoint = add_endpoint("mini-1")
    at = now() - timedelta(days=2)
    for hours, old, new in (
        (0, "unknown", "healthy"),
        (24, "healthy", "offline"),
        (36, "offline", "healthy"),
    ):
        Transition.objects.create(
            endpoint=endpoint,
            at=at + timedelta(hours=hours),
            old_status=old,
            new_status=new,
            reason="refused",
            lost_models=["qwen"] if new == "offline" else [],
        )
    url = f"{ENDPOINTS}{endpoint.pk}/"
    (incident,) = client.get(f"{url}incidents/").json()
    assert (incident["status"], incident["reason"], incident["ended_as"]) == ("offline", "refused", "healthy")
    assert incident["models"] == ["qwen"]
    uptimes = {row["days"]: row["share"] for row in client.get(f"{url}uptime/").json()}
    assert uptimes == {
        days: pytest.approx(share, abs=1e-3) for days, share in {1: 0.5, 7: 0.75, 30: 0.75, 90: 0.75}.items()
    }
    assert client.post(f"{url}check/").status_code == 202
    assert client.get(f"{url}checks/").json() == []


def test_aliases_keep_their_order_and_need_permissions_of_their_own(
    signed_in: SignIn, operator: User, admin_user: User
) -> None:
    alias = {"name": "gpt-4o-mini", "models": ["qwen", "llama", "qwen"]}
    assert signed_in(operator).post("/api/aliases/", alias).status_code == 403
    client = signed_in(admin_user)
    made = client.post("/api/aliases/", alias).json()
    assert made["models"] == ["qwen", "llama"]
    url = f"/api/aliases/{made['id']}/"
    assert client.patch(url, {"models": []}).json()["error"]["param"] == "models"
    assert client.patch(url, {"strategy": "luck"}).json()["error"]["param"] == "strategy"
    assert client.patch(url, {"strategy": "least-latency"}).json()["strategy"] == "least-latency"
    changed = client.patch(url, {"models": ["llama"]}).json()
    assert (changed["models"], changed["strategy"]) == (["llama"], "least-latency")
    assert "load balancer: least-latency" in Change.objects.all()[0].differences
    assert client.delete(url).status_code == 204
    assert not ModelAlias.objects.exists()
    assert [one.action for one in Change.objects.all()] == ["deleted", "changed", "changed", "added"]


def test_a_file_goes_in_and_out(client: APIClient, operator: User) -> None:
    text = "endpoints: [{name: mini-1, url: 'http://mini-1.test:8000', priority: 3}]"

    def send(query: str = "") -> Any:
        return client.post(f"/api/import/{query}", data=text, content_type="application/yaml")

    assert send("?dry_run=true").json()["written"] is False
    assert not Endpoint.objects.exists()
    said = send().json()
    assert (said["written"], said["endpoints"][0]["outcome"]) == (True, "added")
    exported = client.get("/api/export/")
    assert exported.headers["Content-Type"] == "application/yaml"
    assert "priority: 3" in exported.content.decode()
    add_endpoint("old")
    assert {one["name"]: one["outcome"] for one in send("?prune=true").json()["endpoints"]} == {
        "mini-1": "unchanged",
        "old": "deleted",
    }
    assert Endpoint.objects.get().name == "mini-1"


def test_a_file_with_mistakes_changes_nothing_and_they_are_all_told(client: APIClient) -> None:
    text = "endpoints:\n- {name: a, url: 'http://a.test'}\n- {name: b, url: nonsense, weight: x}\n"
    answer = client.post("/api/import/", data=text, content_type="text/plain")
    said = answer.json()["error"]["fields"]["non_field_errors"]
    assert answer.status_code == 400
    assert [one.split(":")[1] for one in said] == ["3", "3"]
    assert not Endpoint.objects.exists()
