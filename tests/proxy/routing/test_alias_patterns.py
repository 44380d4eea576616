"""Aliases that stand for many names, and those with a strategy of their own."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import httpx

from endpoints.routing.snapshot import Alias, Snapshot
from tests.proxy.conftest import CHAT, chat_body, gateway_with, target_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Table = Callable[..., None]
    Upstreams = Callable[..., FakeUpstream]


def test_a_pattern_stands_for_names_that_no_endpoint_has(
    asked: Callable[..., httpx.Response], upstreams: Upstreams, table: Table
) -> None:
    own = upstreams("qwen", "claude-own")
    table(target_for(own), aliases={"claude-*": Alias(("qwen",))})

    family = asked(chat_body("Claude-3-5-haiku"))
    itself = asked(chat_body("claude-own"))

    assert family.headers["x-olla-served-model"] == "qwen"
    assert family.json()["model"] == "qwen"
    assert family.headers["x-olla-routing-strategy"] == "alias"
    assert family.headers["x-olla-routing-decision"] == "routed"
    assert "x-olla-served-model" not in itself.headers


def test_the_pattern_that_leaves_least_open_wins() -> None:
    loose, tight = Alias(("a",)), Alias(("b",))
    table = Snapshot(1, (), {"*": loose, "claude-*-haiku*": tight, "claude-*": loose})

    assert table.matching("claude-3-haiku-2024") is tight
    assert table.matching("claude-3-opus") is loose
    assert table.matching("gpt") is loose


def test_patterns_are_not_listed_but_what_they_match_is_found(
    client: httpx.Client, upstream: FakeUpstream, table: Table
) -> None:
    table(target_for(upstream), aliases={"claude-*": Alias(("m1",))})

    assert [each["id"] for each in client.get("/v1/models").json()["data"]] == ["m1"]
    assert client.get("/v1/models/claude-x").json()["root"] == "m1"
    assert client.get("/v1/models/gpt").status_code == 404


def test_an_alias_has_a_strategy_of_its_own(
    serve: Callable[..., Served], upstreams: Upstreams, table: Table
) -> None:
    table(
        *(target_for(upstreams(), number=number) for number in (1, 2)),
        aliases={"spread": Alias(("m1",), "round-robin")},
    )
    counts: Counter[str] = Counter()

    with httpx.Client(base_url=serve(gateway_with(balancer="cache-aware")).url, trust_env=False) as client:
        for name in ["spread"] * 6 + ["m1"] * 6:
            answer = client.post(CHAT, json=chat_body(name))
            counts[f"{name} {answer.headers['x-olla-endpoint']}"] += 1

    assert (counts["spread mini-1"], counts["spread mini-2"]) == (3, 3)
    assert max(counts["m1 mini-1"], counts["m1 mini-2"]) == 6
