"""The live channel: it speaks when something changed, and only to those who may look."""

from __future__ import annotations

import asyncio
import gzip
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import sync_to_async
from channels.routing import URLRouter
from channels.sessions import SessionMiddlewareStack
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.test import Client

from endpoints.choices import Status
from endpoints.pages import fleet_view
from endpoints.pages.filters import Filter
from endpoints.pages.live import SIGNED_OUT, routes
from endpoints.routing import watch
from ollaproject.asgi import application
from ollaproject.wire import roles
from tests.pages.fleet import add_endpoint, set_health

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from endpoints.models import Endpoint

pytestmark = pytest.mark.django_db(transaction=True)

SOON_SECONDS = 30
ROUTES = routes()  # as in a web process: all open pages are at one hub
PUSHED = "calm=&fleet=&lang="
DENIAL = "websocket.http.response"


@pytest.fixture(autouse=True)
def watcher(transactional_db: None) -> Iterator[None]:
    watch.start()
    yield
    watch.stop()


@pytest.fixture
def endpoint(transactional_db: None) -> Endpoint:
    return add_endpoint("mini-1")


class OpenPage:
    """The socket of one page, with the session of a client."""

    def __init__(self, client: Client, query: str = "") -> None:
        cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
        self.socket = WebsocketCommunicator(
            SessionMiddlewareStack(URLRouter(ROUTES)),
            f"/ws/fleet/?{query}",
            headers=[(b"cookie", cookies.encode())],
        )

    async def __aenter__(self) -> OpenPage:
        connected, _ = await self.socket.connect(timeout=SOON_SECONDS)
        assert connected
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.socket.disconnect(timeout=SOON_SECONDS)

    async def wait_for(self, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first message that fits; heartbeats in between are passed over."""
        async with asyncio.timeout(SOON_SECONDS):
            while True:
                message = read(await self.socket.receive_from(timeout=SOON_SECONDS))
                if fits(message):
                    return dict(message)

    async def wait_for_close(self) -> int:
        async with asyncio.timeout(SOON_SECONDS):
            while True:
                message = await self.socket.receive_output(timeout=SOON_SECONDS)
                if message["type"] == "websocket.close":
                    return int(message["code"])


def read(data: str | bytes) -> dict[str, Any]:
    """What is long comes compressed."""
    return dict(json.loads(gzip.decompress(data) if isinstance(data, bytes) else data))


@sync_to_async
def client_of(name: str | None, role: str = roles.VIEWER) -> Client:
    client = Client()
    if name:
        user = User.objects.get_or_create(username=name)[0]
        roles.grant(user, role)
        client.force_login(user)
    return client


async def test_a_change_is_said_with_how_many_are_down(endpoint: Endpoint) -> None:
    async with OpenPage(await client_of("grace")) as page:
        await page.wait_for(lambda message: message["down"] == 0)
        await sync_to_async(set_health)(endpoint, status=Status.OFFLINE)
        message = await page.wait_for(lambda message: message["changed"])
        assert message["down"] == 1


async def test_a_quiet_fleet_still_has_a_heartbeat(endpoint: Endpoint) -> None:
    async with OpenPage(await client_of("grace")) as page:
        message = await page.wait_for(lambda message: not message["changed"])
        assert {**message, "at": ""} == {"at": "", "changed": False, "routing": False, "down": 0}


async def test_a_burst_of_changes_is_said_at_most_twice_a_second(endpoint: Endpoint) -> None:
    async with OpenPage(await client_of("grace")) as page:
        await page.wait_for(lambda message: not message["changed"])
        loop = asyncio.get_running_loop()
        times: list[float] = []

        async def listen() -> None:
            while len(times) < 3:
                await page.wait_for(lambda message: message["changed"])
                times.append(loop.time())

        listening = asyncio.create_task(listen())
        while not listening.done():
            await sync_to_async(set_health)(endpoint, reason="again")
        await listening
        assert times[2] - times[0] >= 0.9


async def test_someone_who_is_not_signed_in_is_told_so_and_nothing_else() -> None:
    page = OpenPage(await client_of(None))
    await page.socket.connect(timeout=SOON_SECONDS)
    assert await page.wait_for_close() == SIGNED_OUT


async def test_signing_out_elsewhere_closes_the_socket(endpoint: Endpoint) -> None:
    client = await client_of("grace")
    async with OpenPage(client) as page:
        await page.wait_for(lambda _: True)
        await sync_to_async(client.logout)()
        assert await page.wait_for_close() == SIGNED_OUT


async def test_deactivating_the_user_closes_the_socket(endpoint: Endpoint) -> None:
    async with OpenPage(await client_of("grace")) as page:
        await page.wait_for(lambda _: True)
        await sync_to_async(User.objects.filter(username="grace").update)(is_active=False)
        assert await page.wait_for_close() == SIGNED_OUT


async def test_taking_the_role_away_closes_the_socket(endpoint: Endpoint) -> None:
    async with OpenPage(await client_of("grace")) as page:
        await page.wait_for(lambda _: True)
        await sync_to_async(clear_roles)("grace")
        assert await page.wait_for_close() == SIGNED_OUT


async def test_changing_the_password_closes_the_sockets_of_old_sessions(endpoint: Endpoint) -> None:
    async with OpenPage(await client_of("grace")) as page:
        await page.wait_for(lambda _: True)
        await sync_to_async(User.objects.filter(username="grace").update)(password="changed")
        assert await page.wait_for_close() == SIGNED_OUT


async def test_a_closed_page_is_forgotten_by_the_watcher(endpoint: Endpoint) -> None:
    before = watch._watcher._subscribers
    async with OpenPage(await client_of("grace")) as page:
        await page.wait_for(lambda _: True)
        assert len(watch._watcher._subscribers) == len(before) + 1
    assert watch._watcher._subscribers == before


def drawn(message: dict[str, Any]) -> bool:
    return "html" in message


async def test_a_viewer_and_an_operator_who_look_at_once_are_each_sent_what_their_role_may_see(
    endpoint: Endpoint,
) -> None:
    viewer, operator = await client_of("grace"), await client_of("ada", roles.OPERATOR)
    async with OpenPage(viewer, PUSHED) as of_viewer, OpenPage(operator, PUSHED) as of_operator:
        for status in (Status.OFFLINE, Status.HEALTHY):
            await sync_to_async(set_health)(endpoint, status=status)
            fits = partial(shows, status)
            seen = [(await page.wait_for(fits))["html"] for page in (of_viewer, of_operator)]
            assert ["hx-post" in html for html in seen] == [False, True]
        await sync_to_async(clear_roles)("ada")
        await sync_to_async(roles.grant)(await User.objects.aget(username="ada"), roles.VIEWER)
        assert "hx-post" not in (await of_operator.wait_for(drawn))["html"]


def shows(status: Status, message: dict[str, Any]) -> bool:
    return f'data-status="{status}"' in message.get("html", "")


async def test_each_page_is_sent_its_language_and_what_its_filter_lets_through(endpoint: Endpoint) -> None:
    client = await client_of("grace")
    async with OpenPage(client, f"{PUSHED}de&status=offline") as page, OpenPage(client, PUSHED) as other:
        assert "data-status" not in (await page.wait_for(drawn))["html"]
        assert "Healthy" in (await other.wait_for(drawn))["html"]
        await sync_to_async(set_health)(endpoint, status=Status.OFFLINE)
        assert "Nicht erreichbar" in (await page.wait_for(partial(shows, Status.OFFLINE)))["html"]


async def test_a_page_that_nobody_sees_is_sent_nothing_to_show_until_it_is_seen(endpoint: Endpoint) -> None:
    async with OpenPage(await client_of("grace"), PUSHED) as page:
        await page.wait_for(drawn)
        await page.socket.send_to("hidden")
        await sync_to_async(set_health)(endpoint, status=Status.OFFLINE)
        assert not drawn(await page.wait_for(lambda message: message["down"] == 1))
        await page.socket.send_to("shown")
        await page.wait_for(partial(shows, Status.OFFLINE))


def test_a_drawing_is_made_once_for_all_who_see_the_same_and_few_are_kept(member: User) -> None:
    add_endpoint("mini-1")
    seen = fleet_view.state()
    first, second = (fleet_view.reader_of(User.objects.get(pk=member.pk), "en") for _ in range(2))
    kept = fleet_view.current(first, Filter(), seen)
    assert fleet_view.current(second, Filter(), seen) is kept
    for number in range(fleet_view.MOST_KEPT):
        fleet_view.current(first, Filter(model=str(number)), seen)
    assert fleet_view.current(first, Filter(), seen) is not kept


def clear_roles(name: str) -> None:
    User.objects.get(username=name).groups.clear()


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [("/v1/realtime", 501, "websocket_not_supported"), ("/ws/elsewhere/", 404, "not_found")],
)
async def test_any_other_websocket_is_refused_in_words(path: str, status: int, code: str) -> None:
    """Also where the handshake comes from another site: it is told nothing that it could not read."""
    client = WebsocketCommunicator(application, path, headers=[(b"origin", b"https://elsewhere.test")])
    client.scope["extensions"] = {DENIAL: {}}
    await client.send_input({"type": "websocket.connect"})

    head, body = await client.receive_output(), await client.receive_output()

    assert (head["type"], head["status"]) == (f"{DENIAL}.start", status)
    assert json.loads(body["body"])["error"]["code"] == code


async def test_a_server_that_cannot_refuse_in_words_closes() -> None:
    client = WebsocketCommunicator(application, "/v1/realtime")
    await client.send_input({"type": "websocket.connect"})

    assert await client.receive_output() == {"type": "websocket.close"}
