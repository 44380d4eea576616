"""Limits of keys, teams and addresses: exact under many callers at once, true about when there is room."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from ollaproject.wire.openai_errors import ApiError
from proxy.access import key_secrets, key_table
from proxy.access.auth import Caller
from proxy.access.key_table import Holder, KeyTable, Secret, Team
from proxy.access.revocations import Revocations
from proxy.limits.limiter import Limiter
from proxy.limits.limits import Limits
from proxy.limits.windows import SECONDS_PER_DAY, Spent
from proxy.request.estimate import Estimate, estimate
from tests.fakes import answers
from tests.proxy.conftest import CHAT, chat_body, gateway_with, target_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from proxy.gateway import Gateway
    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Serve = Callable[[Gateway], Served]
    Table = Callable[..., None]

CALLERS = 200
PLAIN = "sk-olla-0123456789ab-" + "s" * 40
TWO = "sk-olla-ba9876543210-" + "t" * 40


def holder(plain: str = PLAIN, number: int = 1, **fields: Any) -> Holder:
    _, _, key_id, secret = plain.split("-")
    digest = key_secrets.digest(b"pepper", key_id.encode(), secret.encode())
    return Holder(number, f"key-{number}", key_id.encode(), (Secret(digest, b"pepper"),), **fields)


@pytest.fixture
def hand_out() -> Iterator[Callable[..., None]]:
    """Makes these the keys of the process."""

    def hand_out(*holders: Holder, **spent: Spent) -> None:
        key_table.install(KeyTable(holders, {name.replace("_", " "): each for name, each in spent.items()}))

    yield hand_out
    key_table.install(KeyTable())


@pytest.fixture
def ask(serve: Serve, table: Table, upstream: FakeUpstream) -> Iterator[Callable[..., httpx.Response]]:
    table(target_for(upstream, max_concurrent=1000))
    with httpx.Client(base_url=serve(gateway_with()).url, trust_env=False) as client:

        def send(plain: str = PLAIN, path: str = CHAT, **fields: Any) -> httpx.Response:
            return client.post(path, headers={"authorization": f"Bearer {plain}"}, json=chat_body(**fields))

        yield send


async def all_at_once(url: str, number: int = CALLERS, **headers: str) -> list[httpx.Response]:
    limits = httpx.Limits(max_connections=number)
    async with httpx.AsyncClient(base_url=url, limits=limits, trust_env=False, timeout=60) as client:
        return await asyncio.gather(
            *(client.post(CHAT, json=chat_body(), headers=headers) for _ in range(number))
        )


# --- In one process ---


def test_an_answer_that_no_parser_reads_gives_its_place_back_too(
    ask: Callable[..., httpx.Response], upstream: FakeUpstream, hand_out: Callable[..., None]
) -> None:
    hand_out(holder(limits=Limits(concurrent=1)))
    answer = b'{"choices": ' + b"[" * 5000 + b"]" * 5000 + b', "usage": {"prompt_tokens": 5}}'
    upstream.answer("/v1/chat/completions", answers.respond(answer))

    assert [(each.status_code, each.content) for each in (ask(), ask())] == [(200, answer)] * 2


async def test_of_many_at_once_exactly_as_many_pass_as_the_limit_says(
    serve: Serve, table: Table, upstream: FakeUpstream, hand_out: Callable[..., None]
) -> None:
    table(target_for(upstream, max_concurrent=1000))
    hand_out(holder(limits=Limits(requests_per_minute=50)))
    gateway = gateway_with(queue_size=1000)

    got = await all_at_once(serve(gateway).url, authorization=f"Bearer {PLAIN}")

    assert Counter(each.status_code for each in got) == {200: 50, 429: 150}
    assert len(upstream.requests) == 50


async def test_no_more_run_at_once_than_the_team_may() -> None:
    team = Team(1, "red", Limits(concurrent=7))
    limiter = Limiter()
    holders = (holder(team=team), holder(TWO, 2, team=team))
    callers = [Caller("", "", peer_trusted=False, holder=each) for each in holders]

    permits = [await limiter.enter(callers[number % 2], Estimate()) for number in range(7)]
    with pytest.raises(ApiError) as refused:
        await limiter.enter(callers[0], Estimate())
    permits[0].close(0)
    await limiter.enter(callers[1], Estimate())

    assert refused.value.code == "rate_limit_exceeded"
    assert "'red' has reached a limit (requests at a time: 7)" in refused.value.message


def test_the_answer_says_what_is_left(
    ask: Callable[..., httpx.Response], hand_out: Callable[..., None]
) -> None:
    team = Team(1, "red", Limits(requests_per_minute=2))
    hand_out(holder(limits=Limits(requests_per_minute=3, tokens_per_minute=1000), team=team))

    first = ask()
    ask()
    refused = ask()

    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert first.headers["x-ratelimit-limit-tokens"] == "1000"
    assert int(first.headers["x-ratelimit-remaining-tokens"]) < 1000
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert 59 <= int(refused.headers["retry-after"]) <= 61
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"


def test_a_key_without_limits_hears_nothing_of_them(
    ask: Callable[..., httpx.Response], hand_out: Callable[..., None]
) -> None:
    hand_out(holder())

    assert not [name for name in ask().headers if name.startswith("x-ratelimit")]


def test_tokens_are_settled_by_what_the_endpoint_counted(
    ask: Callable[..., httpx.Response], hand_out: Callable[..., None]
) -> None:
    hand_out(holder(limits=Limits(tokens_per_minute=1000)))

    first = ask(max_tokens=900)
    second = ask(max_tokens=900)  # would not fit beside the first one's estimate

    assert int(first.headers["x-ratelimit-remaining-tokens"]) < 100
    assert second.status_code == 200


def test_a_budget_that_is_spent_says_so(
    ask: Callable[..., httpx.Response], hand_out: Callable[..., None]
) -> None:
    today = int(time.time()) // SECONDS_PER_DAY
    hand_out(holder(limits=Limits(tokens_per_month=10_000)), key_1=Spent(today, 0, 9_900))

    refused = ask(max_tokens=200)
    passed = ask(max_tokens=10)

    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "insufficient_quota")
    assert refused.headers["x-should-retry"] == "false"
    assert 0 < int(refused.headers["retry-after"]) <= 31 * SECONDS_PER_DAY
    assert passed.status_code == 200


def test_answers_are_kept_as_short_as_the_key_may_have_them(
    ask: Callable[..., httpx.Response], hand_out: Callable[..., None], upstream: FakeUpstream
) -> None:
    hand_out(holder(limits=Limits(max_tokens=50)))

    too_long = ask(max_tokens=51)
    silent = ask()
    short = ask(max_completion_tokens=20)

    assert (too_long.status_code, too_long.json()["error"]["code"]) == (400, "max_tokens_too_large")
    assert (silent.status_code, short.status_code) == (200, 200)
    assert upstream.requests[0].json()["max_tokens"] == 50
    assert "max_tokens" not in upstream.requests[1].json()


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (b"/v1/chat/completions", b'{"max_tokens": 30, "n": 2}', Estimate(6, 60, 30)),
        (b"/v1/responses", b'{"max_output_tokens": 9}', Estimate(6, 9, 9)),
        (b"/v1/chat/completions", b"{}", Estimate(0, 256, None)),
        (b"/v1/embeddings", b'{"input": "abcdefgh"}', Estimate(5, 0, None)),
        (b"/v1/completions", b'{"max_tokens": "many"}', Estimate(5, 256, None)),
    ],
)
def test_a_request_is_estimated_before_it_is_counted(path: bytes, body: bytes, expected: Estimate) -> None:
    assert estimate(path, body, None) == expected


async def test_who_leaves_is_charged_for_what_came(
    serve: Serve, table: Table, upstream: FakeUpstream, hand_out: Callable[..., None]
) -> None:
    table(target_for(upstream))
    hand_out(holder(limits=Limits(tokens_per_minute=5000)))
    gateway = gateway_with()
    url = serve(gateway).url
    body = chat_body(stream=True, max_tokens=4000)
    async with httpx.AsyncClient(trust_env=False) as client:
        async with client.stream("POST", url + CHAT, json=body, headers={"x-api-key": PLAIN}) as answer:
            await anext(answer.aiter_bytes())
        after = await client.post(url + CHAT, json=chat_body(max_tokens=4000), headers={"x-api-key": PLAIN})

    assert after.status_code == 200


# --- Addresses ---


def test_callers_without_a_key_are_limited_by_address(
    serve: Serve, table: Table, upstream: FakeUpstream
) -> None:
    table(target_for(upstream))
    limiter = Limiter(per_address=2)
    gateway = gateway_with(api_auth="never", trusted_proxies=["127.0.0.1"], limiter=limiter)
    with httpx.Client(base_url=serve(gateway).url, trust_env=False) as client:

        def statuses(address: str, number: int) -> list[int]:
            headers = {"x-forwarded-for": address}
            return [client.post(CHAT, json=chat_body(), headers=headers).status_code for _ in range(number)]

        assert statuses("10.0.0.1", 3) == [200, 200, 429]
        assert statuses("10.0.0.2", 1) == [200]
        assert statuses("2001:db8::1", 2) == [200, 200]
        assert statuses("2001:db8::2", 1) == [429]  # the same network
        assert client.get("/v1/models").status_code == 200
    assert limiter.blocked_addresses == 2


async def test_all_callers_without_a_key_may_be_limited_together(hand_out: Callable[..., None]) -> None:
    limiter = Limiter(for_all=3)
    for number in range(3):
        await limiter.enter(Caller("", f"10.0.0.{number}", peer_trusted=False), Estimate())
    with pytest.raises(ApiError):
        await limiter.enter(Caller("", "10.0.0.9", peer_trusted=False), Estimate())

    assert not limiter.concerns(Caller("", "10.0.0.9", peer_trusted=False, holder=holder()))


# --- Keys that are revoked while they are used ---


@pytest.mark.parametrize("cut", [True, False])
def test_running_streams_of_a_revoked_key_end_as_the_setting_says(
    serve: Serve, table: Table, upstream: FakeUpstream, hand_out: Callable[..., None], *, cut: bool
) -> None:
    gate = answers.Gate()
    events = answers.chat_events("m1", ["MLX", " is", " fast."])
    upstream.answer("/v1/chat/completions", answers.sse(events, between=gate))
    table(target_for(upstream))
    hand_out(holder())
    url = serve(gateway_with(revocations=Revocations() if cut else None)).url
    seen = b""
    with httpx.Client(trust_env=False, timeout=10) as client:
        headers = {"x-api-key": PLAIN}
        with client.stream("POST", url + CHAT, json=chat_body(stream=True), headers=headers) as answer:
            pieces = answer.iter_raw()
            seen += next(pieces)
            hand_out(replace(holder(), closed="was revoked"))
            assert client.post(url + CHAT, json=chat_body(), headers=headers).status_code == 401
            for _ in events if not cut else ():
                gate.open()
            ended = threading.Event()
            try:
                for piece in pieces:
                    seen += piece
                ended.set()
            except httpx.RemoteProtocolError:
                pass
    assert ended.is_set() is not cut
    assert (b"[DONE]" in seen) is not cut
    assert (b"was revoked" in seen) is cut
