"""A session's requests go to the same endpoint, as long as it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from endpoints.choices import Status
from proxy.request.prefix import Prompt
from proxy.routing.sharing import Sharing
from proxy.routing.sticky import SOURCES, Asker, Sticky, StickyRules
from tests.fakes import answers
from tests.proxy.conftest import CHAT, chat_body, gateway_with, target_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Table = Callable[..., None]
    Upstreams = Callable[..., FakeUpstream]

PATH = "/v1/chat/completions"
WAIT_SECONDS = 30


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def sticky() -> Sticky:
    return Sticky(StickyRules(sources=SOURCES))


@pytest.fixture
def client(serve: Callable[..., Served], sticky: Sticky) -> Iterator[httpx.Client]:
    """Of a gateway in turns: without a session, nobody gets two requests in a row."""
    with httpx.Client(base_url=serve(gateway_with(sticky=sticky)).url, trust_env=False, timeout=20) as made:
        yield made


def asker(session: str = "", **more: Any) -> Asker:
    headers = [(b"x-olla-session-id", session.encode())] if session else []
    return Asker(headers, more.get("address", ""), more.get("model", "m1"), more.get("prompt"))


def ask(client: httpx.Client, session: str, **more: Any) -> httpx.Response:
    return client.post(CHAT, json=chat_body(**more), headers={"X-Olla-Session-ID": session})


# --- Through a gateway ---


def test_a_session_stays_where_it_began(client: httpx.Client, upstreams: Upstreams, table: Table) -> None:
    table(*(target_for(upstreams(), number=number) for number in (1, 2, 3)))

    got = [ask(client, "chat-7").headers for _ in range(5)]

    assert len({each["x-olla-endpoint"] for each in got}) == 1
    assert [each["x-olla-sticky-session"] for each in got] == ["miss", "hit", "hit", "hit", "hit"]
    assert {each["x-olla-session-id"] for each in got} == {"chat-7"}
    assert {each["x-olla-sticky-key-source"] for each in got} == {"session_header"}


def test_the_session_moves_when_its_endpoint_leaves_and_stays_there(
    client: httpx.Client, upstreams: Upstreams, table: Table
) -> None:
    one, two = upstreams(), upstreams()
    table(target_for(one, number=1), target_for(two, number=2, status=Status.OFFLINE))
    ask(client, "a")

    table(target_for(one, number=1, status=Status.OFFLINE), target_for(two, number=2))
    moved = ask(client, "a").headers
    table(target_for(one, number=1), target_for(two, number=2))
    after = ask(client, "a").headers

    assert (moved["x-olla-endpoint"], moved["x-olla-sticky-session"]) == ("mini-2", "repin")
    assert (after["x-olla-endpoint"], after["x-olla-sticky-session"]) == ("mini-2", "hit")


def test_a_failover_takes_the_session_along(client: httpx.Client, upstreams: Upstreams, table: Table) -> None:
    one, two = upstreams(), upstreams()
    table(target_for(one, number=1))
    ask(client, "a")
    one.answer(PATH, answers.error(503, "loading"))
    table(target_for(one, number=1), target_for(two, number=2))

    got = ask(client, "a").headers

    assert (got["x-olla-endpoint"], got["x-olla-attempts"]) == ("mini-2", "2")
    assert got["x-olla-sticky-session"] == "repin"
    assert ask(client, "a").headers["x-olla-sticky-session"] == "hit"


def test_without_a_session_header_the_beginning_of_the_prompt_tells_a_chat(
    client: httpx.Client, upstreams: Upstreams, table: Table
) -> None:
    table(*(target_for(upstreams(), number=number) for number in (1, 2, 3)))

    got = [client.post(CHAT, json=chat_body()).headers for _ in range(3)]

    assert len({each["x-olla-endpoint"] for each in got}) == 1
    assert got[1]["x-olla-sticky-key-source"] == "prefix_hash"
    assert "x-olla-session-id" not in got[1]


def test_while_sticky_sessions_are_off_no_header_speaks_of_them(
    serve: Callable[..., Served], upstream: FakeUpstream, table: Table
) -> None:
    table(target_for(upstream))

    with httpx.Client(base_url=serve(gateway_with()).url, trust_env=False) as client:
        got = ask(client, "a").headers

    assert not [name for name in got if name.startswith("x-olla-s") and name != "x-olla-served-model"]


# --- The rules ---


def test_the_first_source_that_yields_something_decides(sticky: Sticky) -> None:
    prompt = Prompt()
    headers = [(b"authorization", b"Bearer x")]

    by_ip = sticky.session_of(Asker([], "10.0.0.1", "m1", prompt))
    by_key = sticky.session_of(Asker(headers, "10.0.0.1", "m1", prompt))
    nothing = sticky.session_of(Asker([], "", "m1", None))

    assert (by_ip.source, by_key.source) == ("ip", "auth_header")
    assert nothing.headers() == [(b"x-olla-sticky-session", b"disabled")]


def test_the_same_session_for_another_model_is_another(sticky: Sticky) -> None:
    sticky.session_of(asker("a", model="m1")).placed(1)

    assert sticky.session_of(asker("a", model="m2")).pinned is None
    assert sticky.session_of(asker("a", model="m1")).pinned == 1


def test_a_session_ends_when_it_has_rested_for_too_long() -> None:
    clock = Clock()
    sticky = Sticky(StickyRules(idle_ttl=60), clock=clock)
    sticky.session_of(asker("a")).placed(1)
    clock.now = 50
    sticky.session_of(asker("a")).placed(1)
    clock.now = 105
    assert sticky.session_of(asker("a")).pinned == 1  # each request begins the time anew

    clock.now = 115

    assert sticky.session_of(asker("a")).pinned is None
    assert sticky.figures()["active_sessions"] == 0


def test_the_session_that_was_used_longest_ago_makes_room() -> None:
    sticky = Sticky(StickyRules(max_sessions=2))
    for name in ("a", "b", "a", "c"):
        sticky.session_of(asker(name)).placed(1)

    assert sticky.session_of(asker("a")).pinned == 1
    assert sticky.session_of(asker("b")).pinned is None
    assert sticky.figures()["evictions"] == 1


def test_figures_count_what_became_of_each_request(sticky: Sticky) -> None:
    for place in (1, 1, 2):
        session = sticky.session_of(asker("a"))
        session.placed(place)
        session.ended()
    sticky.session_of(asker("b")).ended()  # refused before an endpoint was chosen

    assert sticky.figures() == {
        "enabled": True,
        "active_sessions": 1,
        "insertions": 2,
        "hits": 1,
        "misses": 1,
        "repins": 1,
        "evictions": 0,
        "max_sessions": 10_000,
        "idle_ttl_seconds": 600.0,
    }


# --- Several processes ---


@pytest.mark.redis
def test_processes_share_their_sessions_and_one_that_starts_later_knows_them(redis_url: str) -> None:
    def process() -> tuple[Sticky, Sharing]:
        sharing = Sharing(redis_url)
        made = Sticky(StickyRules(), secret=b"same", sharing=sharing)
        made.session_of(asker("warm up"))
        return made, sharing

    (one, first), (two, second) = process(), process()
    one.session_of(asker("a")).placed(7)
    first.stop()  # it tells what is left
    second.caught_up.wait(WAIT_SECONDS)
    second.caught_up.clear()
    assert second.caught_up.wait(WAIT_SECONDS)
    late, third = process()
    assert third.caught_up.wait(WAIT_SECONDS)

    assert two.session_of(asker("a")).pinned == 7
    assert late.session_of(asker("a")).pinned == 7
    second.stop()
    third.stop()


def test_without_redis_each_process_goes_by_its_own() -> None:
    sharing = Sharing("redis://127.0.0.1:9/0")
    sticky = Sticky(StickyRules(), sharing=sharing)

    sticky.session_of(asker("a")).placed(3)

    assert sticky.session_of(asker("a")).pinned == 3
    sharing.stop()
