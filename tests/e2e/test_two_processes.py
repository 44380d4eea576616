"""Two web processes over one database: they give the same figures, also when one of them is killed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from bench.ports import free_port
from tests.e2e.gateway import ROOT, eventually
from tests.fakes.upstream import FakeUpstream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(180)

CHAT = {"model": "m1", "messages": [{"role": "user", "content": "Hi"}]}
# What a check would have found.
FOUND_HEALTHY = """
from endpoints.models import Endpoint, EndpointHealth
from ollaproject.wire.clock import now
endpoint = Endpoint.objects.create(name="mini-1", url="{url}", type="vllm-mlx")
EndpointHealth.objects.filter(endpoint=endpoint).update(status="healthy", checked_at=now())
endpoint.models.create(name="m1", created=1, first_seen_at=now(), last_seen_at=now())
"""
# Beside what ages by itself: who was asked decides the moment.
AGEING = {"timestamp", "uptime", "last_check", "next_check", "health_check", "last_model_sync"}

# What has to be the same whichever of them answers.
SAME = (
    *("/internal/status", "/internal/status/endpoints", "/internal/status/models?detailed=true&group=family"),
    *("/internal/stats/models", "/internal/stats/translators", "/internal/stats/sticky"),
    *("/olla/models", "/v1/models", "/version"),
)


class Web:
    """A web process as it runs in production."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "ollaproject.web", "--port", str(self.port)]
        self.process = subprocess.Popen(command, env=environment, cwd=ROOT)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=20, trust_env=False)

    def answers(self) -> bool:
        try:
            return self.client.get("/internal/health").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def json(self, path: str) -> Any:
        return lasting(self.client.get(path).json())

    def metric(self, line: str) -> float:
        text = self.client.get("/metrics").text
        return next(float(each.split()[-1]) for each in text.splitlines() if each.startswith(line))

    def handshake(self, path: str) -> bytes:
        """What a websocket client is answered."""
        lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Connection: Upgrade", "Upgrade: websocket"]
        lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", ""]
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall("\r\n".join(lines).encode())
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def stop(self) -> None:
        self.client.close()
        self.process.kill()
        self.process.wait(10)


def lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: lasting(inner) for key, inner in value.items() if key not in AGEING}
    return [lasting(inner) for inner in value] if isinstance(value, list) else value


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as running:
        yield running


@pytest.fixture
def pair(tmp_path: Path, upstream: FakeUpstream) -> Iterator[tuple[Web, Web]]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OLLA_")}
    environment = {**kept, "OLLA_HOME": str(tmp_path), "OLLA_STICKY_SESSIONS": "true"}

    def manage(*words: str) -> None:
        subprocess.run([sys.executable, "manage.py", *words], env=environment, cwd=ROOT, check=True)

    manage("migrate", "--verbosity=0")
    manage("shell", "--verbosity=0", "--command", FOUND_HEALTHY.format(url=upstream.url))
    with ExitStack() as stack:
        webs = []
        for _ in range(2):
            web = Web(environment)
            stack.callback(web.stop)
            webs.append(web)
        for web in webs:
            eventually(web.answers, within=60)
        yield webs[0], webs[1]


def test_they_give_the_same_figures(pair: tuple[Web, Web], upstream: FakeUpstream) -> None:
    one, other = pair
    for web, requests in ((one, 3), (other, 2)):
        for _ in range(requests):
            assert web.client.post("/v1/chat/completions", json=CHAT).status_code == httpx.codes.OK

    eventually(lambda: other.json("/internal/status")["system"]["total_requests"] == 5, within=60)
    assert one.metric("olla_requests_total") == other.metric("olla_requests_total") == 5
    for path in SAME:
        assert one.json(path) == other.json(path)
        if path.startswith("/internal"):
            assert one.client.get(path).headers["etag"] == other.client.get(path).headers["etag"]
    assert one.metric("olla_web_processes") == 2
    assert len(upstream.requests_for("/v1/chat/completions")) == 5

    told = one.handshake("/v1/realtime?model=m1")
    assert told.startswith(b"HTTP/1.1 501")
    assert b"websocket_not_supported" in told

    before = one.metric("olla_model_requests_total")
    other.process.kill()
    assert one.metric("olla_model_requests_total") == before == 5
