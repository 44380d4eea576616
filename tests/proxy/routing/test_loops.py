"""A gateway that is among its own endpoints: its checks say so, and no request goes round for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from endpoints.choices import Status
from endpoints.health.probe import Checker
from proxy.request.head import MAX_GATEWAYS
from proxy.request.headers import VIA
from tests.endpoints.targets import target_of
from tests.proxy.conftest import CHAT, chat_body, gateway_with, target_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.gateway import Gateway
    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Table = Callable[..., None]


@pytest.mark.parametrize("health_url", ["/health", "/v1/models", "/olla/vllm-mlx/health"])
async def test_a_check_of_itself_is_a_mistake_in_the_configuration(
    served: Served, table: Table, upstream: FakeUpstream, health_url: str
) -> None:
    table(target_for(upstream))
    async with Checker() as checker:
        result = await checker.probe(target_of(served.url, health_url=served.url + health_url))

    assert (result.status, result.reason) == (Status.CONFIG_ERROR, "it leads back to this gateway (508)")


def test_a_request_goes_round_a_few_times_at_most(serve: Callable[[Gateway], Served], table: Table) -> None:
    served = serve(gateway_with(api_auth="never"))
    table(target_for(served.url))
    answer = httpx.post(served.url + CHAT, json=chat_body(), timeout=20, trust_env=False)

    assert (answer.status_code, answer.json()["error"]["code"]) == (508, "gateway_loop")
    assert served.tally_of(1).requests == MAX_GATEWAYS


def test_a_gateway_may_stand_before_another(
    serve: Callable[[Gateway], Served], table: Table, upstream: FakeUpstream
) -> None:
    served = serve(gateway_with(api_auth="never"))
    table(target_for(upstream))
    via = ", ".join([VIA.decode()] * (MAX_GATEWAYS - 1))
    answer = httpx.post(
        served.url + CHAT, json=chat_body(), headers={"Via": via}, timeout=20, trust_env=False
    )

    assert answer.status_code == 200
