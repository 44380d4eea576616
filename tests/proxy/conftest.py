"""A real gateway for each test: uvicorn on a loopback port, our consumers, a routing table of its own."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anthropic
import httpx
import pytest
import uvicorn
from channels.routing import URLRouter
from django.conf import settings as django_settings

from bench.routing.fleet import target
from endpoints.routing import watch
from endpoints.routing.snapshot import ServedModel, Snapshot, Target, install, snapshot
from ollaproject.client_connection import ClientConnection
from ollaproject.web import KEEP_ALIVE_SECONDS
from proxy.access import key_table
from proxy.access.auth import Guard
from proxy.gateway import Gateway
from proxy.records import request_log
from proxy.request.bodies import Spool
from proxy.routes import routes
from tests.fakes import anthropic_answers
from tests.fakes.answers import CREATED
from tests.fakes.upstream import FakeUpstream
from tests.proxy.over_daphne import listening_over_daphne

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from endpoints.routing.snapshot import Alias
    from ollaproject.wire.asgi import Receive, Scope, Send
    from proxy.records.record import Tally
    from tests.proxy.over_daphne import DaphneServer

    TargetOf = Callable[..., Target]

PLAIN, SPEAKING = "openai-compatible", "vllm-mlx"  # backend types without Anthropic's API, and with it
START_SECONDS = 60.0
CHAT = "/olla/vllm-mlx/v1/chat/completions"


@dataclass(slots=True)
class Served:
    """A gateway that listens."""

    gateway: Gateway
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def tally_of(self, endpoint_id: int) -> Tally:
        """What is counted of an endpoint when none is under way: clients have answers just before that."""
        give_up_at = time.monotonic() + 10
        while self.gateway.records.in_flight():
            assert time.monotonic() < give_up_at, "requests are under way after 10 s"
            time.sleep(0.005)
        return self.gateway.records.of(endpoint_id)


class _Server(uvicorn.Server):
    """uvicorn in a thread, as `manage.py serve` runs it; serves whichever gateway it is given last."""

    def __init__(self, keep_alive_seconds: int) -> None:
        config = uvicorn.Config(
            self.application,
            port=0,
            loop="uvloop",
            http=ClientConnection,
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=keep_alive_seconds,
            timeout_graceful_shutdown=1,
        )
        super().__init__(config)
        self.listening = threading.Event()
        self._gateway: Gateway | None = None
        self._routes: URLRouter | None = None
        self.loop: asyncio.AbstractEventLoop | None = None

    async def application(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._routes is not None
        await self._routes(scope, receive, send)

    @property
    def port(self) -> int:
        port: int = self.servers[0].sockets[0].getsockname()[1]
        return port

    @contextmanager
    def serving(self, gateway: Gateway) -> Iterator[int]:
        """The port at which `gateway` is served."""
        self._gateway = gateway
        self._routes = URLRouter(routes(gateway))
        yield self.port
        if self.should_exit or self.loop is None:
            return
        closing = asyncio.run_coroutine_threadsafe(gateway.upstream.aclose(), self.loop)
        closing.result(START_SECONDS)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.loop = asyncio.get_running_loop()
        self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        request_log.write_all()
        if self._gateway is not None:
            await self._gateway.upstream.aclose()
            await asyncio.sleep(0)  # the transports' own last words

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextmanager
def listening(keep_alive_seconds: int = KEEP_ALIVE_SECONDS) -> Iterator[_Server]:
    """As in production, it keeps connections longer than clients do (httpx: 5 s): one side ends them."""
    made = _Server(keep_alive_seconds)
    thread = threading.Thread(target=made.run, name="gateway")
    thread.start()
    try:
        assert made.listening.wait(START_SECONDS)
        yield made
    finally:
        made.should_exit = True
        thread.join(START_SECONDS)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def uvicorn_server() -> Iterator[_Server]:
    with listening() as made:
        yield made


@pytest.fixture(scope="session")
def daphne_server() -> Iterator[DaphneServer]:
    with listening_over_daphne() as made:
        yield made


@pytest.fixture
def server(request: pytest.FixtureRequest) -> _Server | DaphneServer:
    """What serves a test: uvicorn, unless the test is marked with `over_both_servers`."""
    name = getattr(request, "param", "uvicorn")
    found: _Server | DaphneServer = request.getfixturevalue(f"{name}_server")
    return found


over_both_servers = pytest.mark.parametrize("server", ["uvicorn", "daphne"], indirect=True)


def open_guard(
    *,
    api_auth: str = "remote",
    allowed_hosts: Sequence[str] = ("127.0.0.1", "localhost"),
    trusted_proxies: Sequence[str] = (),
    origins: Sequence[str] = (),
) -> Guard:
    return Guard(
        api_auth=api_auth,
        allowed_hosts=allowed_hosts,
        trusted_proxies=trusted_proxies,
        cors_origins=origins,
    )


@pytest.fixture
def no_keys_left() -> Iterator[None]:
    """After a test that has made keys: this process knows none of them any more."""
    yield
    key_table.install(key_table.KeyTable())


PLACING = (
    *("balancer", "queue_size", "queue_timeout", "ledger", "limiter", "revocations", "sticky"),
    *("model_routing", "model_fallback", "rediscovery", "share_counts", "tracing"),
)


def gateway_with(*, max_body_size: int = 2**20, spool: Spool | None = None, **rules: Any) -> Gateway:
    """Routing in turns, so that a test knows who is next; the other `rules` are the guard's."""
    spool = spool or Spool(django_settings.OLLA_HOME / "bodies", memory=max_body_size // 2, disk=2**30)
    placing = {name: rules.pop(name) for name in PLACING if name in rules}
    placing.setdefault("balancer", "round-robin")
    return Gateway(guard=open_guard(**rules), max_body_size=max_body_size, spool=spool, **placing)


@pytest.fixture
def serve(server: _Server | DaphneServer) -> Iterator[Callable[[Gateway], Served]]:
    """Serves a gateway of the test's own making."""
    with ExitStack() as stack:
        yield lambda gateway: Served(gateway, stack.enter_context(server.serving(gateway)))


@pytest.fixture
def served(serve: Callable[[Gateway], Served]) -> Served:
    return serve(gateway_with())


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=20, trust_env=False) as made:
        yield made


@pytest.fixture
def asked(serve: Callable[[Gateway], Served]) -> Callable[..., httpx.Response]:
    """Asks a gateway that is made by the given rules."""

    def ask(body: dict[str, Any], *, path: str = CHAT, **rules: Any) -> httpx.Response:
        with httpx.Client(base_url=serve(gateway_with(**rules)).url, trust_env=False, timeout=20) as client:
            return client.post(path, json=body)

    return ask


@pytest.fixture
def upstreams() -> Iterator[Callable[..., FakeUpstream]]:
    """Makes fake upstreams that end with the test."""
    with ExitStack() as stack:
        yield lambda *models, **how: stack.enter_context(FakeUpstream(models=models or ("m1",), **how))


@pytest.fixture
def upstream(upstreams: Callable[..., FakeUpstream]) -> FakeUpstream:
    return upstreams("m1")


def target_for(upstream: FakeUpstream | str, *, number: int = 1, **changes: Any) -> Target:
    """The routing table's entry for a fake upstream, healthy unless `changes` say otherwise."""
    models = upstream.models if isinstance(upstream, FakeUpstream) else ("m1",)
    usual = {
        "url": upstream.url if isinstance(upstream, FakeUpstream) else upstream,
        "models": tuple(ServedModel(name, CREATED, None) for name in models),
    }
    return target(number, **{**usual, **changes})


@pytest.fixture
def table() -> Iterator[Callable[..., None]]:
    """Installs a routing table of the given targets, in the fleet's order, and of `aliases` by their names.

    The old one comes back after the test.
    """
    watch.stop()  # where a test before this one has needed it, it would put the database's own table in
    before = snapshot()

    def use(*targets: Target, aliases: Mapping[str, Alias] | None = None) -> None:
        ordered = sorted(targets, key=lambda target: (-target.priority, target.name))
        install(Snapshot(1, tuple(ordered), dict(aliases or {})))

    yield use
    install(before)


def chat_body(model: str = "m1", **more: object) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": "What is MLX?"}], **more}


@pytest.fixture(params=["/olla/anthropic", ""])
def anthropic_sdk(request: pytest.FixtureRequest, served: Served) -> Iterator[anthropic.Anthropic]:
    url = served.url + request.param
    with anthropic.Anthropic(base_url=url, api_key="not-needed", max_retries=0) as made:
        yield made


@pytest.fixture(params=[SPEAKING, PLAIN])
def anthropic_backend(
    request: pytest.FixtureRequest, table: Callable[..., None], upstream: FakeUpstream
) -> str:
    """Its type: one that speaks Anthropic's API, and one that does not."""
    upstream.answer("/v1/messages", anthropic_answers.message)
    table(target_for(upstream, type=request.param))
    kind: str = request.param
    return kind
