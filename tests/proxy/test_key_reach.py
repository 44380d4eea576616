"""What a key may use: its models and its endpoints, and no way around."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

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


@pytest.mark.usefixtures("two")
def test_a_body_that_hides_its_model_is_no_way_around(ask: Callable[..., httpx.Response]) -> None:
    plain = made(allowed_models=["small-*"])
    packed = ask(plain, content=b"\x1f\x8b", headers={"content-encoding": "gzip"})
    unnamed = ask(plain, json={"messages": []})

    assert {packed.status_code, unnamed.status_code} == {403}


def test_a_key_goes_to_its_endpoints_only(
    two: tuple[FakeUpstream, FakeUpstream], ask: Callable[..., httpx.Response]
) -> None:
    plain = made(allowed_endpoints=["mini-2"])

    assert [each["id"] for each in ask(plain).json()["data"]] == ["small-1"]
    assert ask(plain, "small-1").headers["x-olla-endpoint"] == "mini-2"
    assert ask(plain, "large-1").status_code == 404
    assert ask(made("bob"), "small-1").headers["x-olla-endpoint"] == "mini-1"
    assert not any(seen.header("x-api-key") for seen in (*two[0].requests, *two[1].requests))
