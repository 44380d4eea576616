"""What a key may use: its models and its endpoints, and no way around."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from django.contrib.auth.models import Group, User
from django.http.multipartparser import MultiPartParser

from proxy.models import PersonLimits, TeamLimits
from tests.proxy.conftest import CHAT, chat_body, gateway_with, target_for
from tests.proxy.key_making import made

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from proxy.gateway import Gateway
    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Serve = Callable[[Gateway], Served]
    Table = Callable[..., None]
    Settings = Any

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_keys_left")]


@pytest.fixture
def two(upstreams: Callable[..., FakeUpstream], table: Table) -> tuple[FakeUpstream, FakeUpstream]:
    first, second = upstreams("small-1", "large-1"), upstreams("small-1")
    table(target_for(first, number=1, priority=90), target_for(second, number=2))
    return first, second


@pytest.fixture
def ask(serve: Serve) -> Iterator[Callable[..., httpx.Response]]:
    with httpx.Client(base_url=serve(gateway_with()).url, trust_env=False) as client:

        def send(plain: str, model: str | None = None, **how: Any) -> httpx.Response:
            headers = {"x-api-key": plain, **how.pop("headers", {})}
            if model is None and not how:
                return client.get("/v1/models", headers=headers)
            return client.post(CHAT, headers=headers, **(how or {"json": chat_body(model or "")}))

        yield send


@pytest.mark.usefixtures("two")
def test_a_key_sees_and_uses_its_models_only(ask: Callable[..., httpx.Response]) -> None:
    plain = made(allowed_models=["Small-*"])

    assert [each["id"] for each in ask(plain).json()["data"]] == ["small-1"]
    assert ask(plain, "small-1").status_code == 200
    refused = ask(plain, "large-1")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_not_allowed")


@pytest.mark.parametrize("whose", ["team", "person"])
@pytest.mark.usefixtures("two")
def test_a_key_uses_no_model_that_its_team_or_its_owner_may_not(
    ask: Callable[..., httpx.Response], whose: str
) -> None:
    owner, team = User.objects.create(username="ada"), Group.objects.create(name="red")
    if whose == "team":
        TeamLimits.objects.create(team=team, allowed_models=["small-*"])
    else:
        PersonLimits.objects.create(person=owner, allowed_models=["small-*"])
    all_of_them = made("all", owner=owner, team=team)
    large = made("large", owner=owner, team=team, allowed_models=["large-*"])

    assert [each["id"] for each in ask(all_of_them).json()["data"]] == ["small-1"]
    assert ask(all_of_them, "small-1").status_code == 200
    assert ask(all_of_them, "large-1").json()["error"]["code"] == "model_not_allowed"
    assert ask(large).json()["data"] == []
    for model in ("small-1", "large-1"):
        assert ask(large, model).status_code == 403


@pytest.mark.usefixtures("two")
def test_a_body_that_hides_its_model_is_no_way_around(ask: Callable[..., httpx.Response]) -> None:
    plain = made(allowed_models=["small-*"])
    packed = ask(plain, content=b"\x1f\x8b", headers={"content-encoding": "gzip"})
    unnamed = ask(plain, json={"messages": []})

    assert {packed.status_code, unnamed.status_code} == {403}


@pytest.mark.parametrize("key", ["Model", "MODEL", "\\u004dodel"])
@pytest.mark.usefixtures("two")
def test_another_case_of_model_is_no_way_around(ask: Callable[..., httpx.Response], key: str) -> None:
    """Servers in Go, such as Ollama, take it for the same key, and the last one counts."""
    body = f'{{"model": "small-1", "{key}": "large-1", "messages": [{{"Model": "x"}}]}}'

    assert ask(made(allowed_models=["small-*"]), content=body.encode()).status_code == 403
    assert ask(made("bob"), content=body.encode()).status_code == 200


@pytest.mark.usefixtures("two")
def test_what_is_nested_may_be_called_anything(ask: Callable[..., httpx.Response]) -> None:
    body = chat_body("small-1", tools=[{"function": {"parameters": {"properties": {"Model": {}}}}}])

    assert ask(made(allowed_models=["small-*"]), json=body).status_code == 200


def part(name: str, value: str, *, boundary: str = "B", before: str = "", after: str = "") -> str:
    return f'--{boundary}\r\n{before}Content-Disposition: form-data; name="{name}"{after}\r\n\r\n{value}\r\n'


SMALL, LARGE, END = part("model", "small-1"), part("model", "large-1"), "--B--\r\n"
FORM = "multipart/form-data; boundary=B"
AUDIO = "/v1/audio/transcriptions"
READ_OTHERWISE = {
    "twice": SMALL + LARGE + END,
    "behind another header": SMALL + part("model", "large-1", before='X-A: ; name="a"\r\n') + END,
    "two boundaries": part("model", "small-1", boundary="C") + "--C--\r\n" + LARGE + END,
    "padded": SMALL + "--B \r\n" + LARGE.partition("\r\n")[2] + END,
}


@pytest.mark.parametrize("form", READ_OTHERWISE.values(), ids=READ_OTHERWISE)
@pytest.mark.parametrize("content_type", [FORM, FORM.replace("; ", "; xboundary=C; ")])
@pytest.mark.usefixtures("two")
def test_a_form_that_others_read_otherwise_is_no_way_around(
    serve: Serve, form: str, content_type: str
) -> None:
    """What Django reads of it, to name one, is the model that the key may not use."""
    environment = {"CONTENT_TYPE": content_type, "CONTENT_LENGTH": len(form)}
    read, _ = MultiPartParser(environment, BytesIO(form.encode()), []).parse()
    assert read["model"] == "large-1"

    headers = {"x-api-key": made(allowed_models=["small-*"]), "content-type": content_type}
    url = serve(gateway_with()).url + AUDIO
    with httpx.Client(trust_env=False) as client:
        assert client.post(url, headers=headers, content=form.encode()).status_code == 403


@pytest.mark.usefixtures("two")
def test_two_content_types_are_no_way_around(serve: Serve) -> None:
    key = made(allowed_models=["small-*"])
    form = (SMALL + END).encode()
    types = [("content-type", FORM.replace("=B", "=C")), ("content-type", FORM)]
    with httpx.Client(base_url=serve(gateway_with()).url, trust_env=False) as client:
        refused = client.post(AUDIO, headers=[("x-api-key", key), *types], content=form)
        passed = client.post(AUDIO, headers=[("x-api-key", key), types[1]], content=form)

    assert (refused.status_code, passed.headers["x-olla-model"]) == (403, "small-1")


def test_a_key_goes_to_its_endpoints_only(
    two: tuple[FakeUpstream, FakeUpstream], ask: Callable[..., httpx.Response]
) -> None:
    plain = made(allowed_endpoints=["mini-2"])

    assert [each["id"] for each in ask(plain).json()["data"]] == ["small-1"]
    assert ask(plain, "small-1").headers["x-olla-endpoint"] == "mini-2"
    assert ask(plain, "large-1").status_code == 404
    assert ask(made("bob"), "small-1").headers["x-olla-endpoint"] == "mini-1"
    assert not any(seen.header("x-api-key") for seen in (*two[0].requests, *two[1].requests))
