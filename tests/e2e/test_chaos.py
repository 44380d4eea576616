"""Three backends that are killed, stopped, slowed and broken under load: no client notices.

Real processes on both sides. One backend at a time is in trouble, so there is always a sound sibling.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING

import httpx

from tests.e2e.gateway import Gateway, eventually
from tests.fakes.backend import Backend

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

CLIENTS = 8
TROUBLE_SECONDS, HANG_SECONDS = 0.7, 1.6  # the latter outlasts the first-byte timeout
CHAT = "/v1/chat/completions"
ENTRY = """
  - {{name: backend-{number}, url: "http://127.0.0.1:{port}", type: vllm-mlx,
     check_interval: 1s, check_timeout: 500ms, first_byte_timeout: 1s, max_concurrent: 20}}"""


def import_backends(gateway: Gateway, backends: list[Backend], folder: Path) -> None:
    entries = "".join(ENTRY.format(number=number, port=each.port) for number, each in enumerate(backends))
    path = folder / "endpoints.yaml"
    path.write_text(f"endpoints:{entries}\n")
    gateway.manage("import_endpoints", str(path))


async def trouble(backends: list[Backend]) -> None:
    """Everything that may happen to a backend, to each in turn. The next is sound again by then."""
    for one in backends:
        for begin, end in (
            (one.kill, one.restart),
            (one.hang, one.go_on),
            (lambda one=one: one.answers("error"), lambda one=one: one.answers("well")),
            (lambda one=one: one.answers("slow"), lambda one=one: one.answers("well")),
        ):
            await asyncio.to_thread(begin)
            await asyncio.sleep(HANG_SECONDS if begin == one.hang else TROUBLE_SECONDS)
            await asyncio.to_thread(end)
            await asyncio.sleep(TROUBLE_SECONDS)  # until it is found well again


async def under_load(url: str, work: Callable[[], Awaitable[None]]) -> tuple[Counter[str], list[str]]:
    """What answered while `work` went on, and what went wrong."""
    served: Counter[str] = Counter()
    wrong: list[str] = []
    done = asyncio.Event()

    async def client(number: int, over: httpx.AsyncClient) -> None:
        count = 0
        while not done.is_set():
            count += 1
            text = f"client {number}, request {count}"
            body = {"model": "m1", "messages": [{"role": "user", "content": text}]}
            got = await over.post(CHAT, json=body)
            if got.status_code != httpx.codes.OK or not got.json()["choices"]:
                wrong.append(f"{text}: {got.status_code} {got.text}")
            served[got.headers.get("x-olla-endpoint", "nobody")] += 1
            await asyncio.sleep(0.02)

    async with httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as over:
        clients = [asyncio.create_task(client(number, over)) for number in range(CLIENTS)]
        await work()
        done.set()
        await asyncio.gather(*clients)
    return served, wrong


def asked(client: httpx.Client, answered: set[str]) -> set[str]:
    """`answered`, to which who answers now is added."""
    body = {"model": "m1", "messages": [{"role": "user", "content": "Who is there?"}]}
    got = client.post(CHAT, json=body)
    if got.is_success:
        answered.add(got.headers["x-olla-endpoint"])
    return answered


def test_no_client_notices_what_happens_to_the_backends(tmp_path: Path) -> None:
    with ExitStack() as stack:
        backends = [Backend.started() for _ in range(3)]
        for each in backends:
            stack.callback(each.kill)
        environment = {"OLLA_SLOW_START": "0", "OLLA_LOAD_BALANCER": "least-connections"}
        gateway = stack.enter_context(Gateway(options=("--without-model",), environment=environment))
        eventually(lambda: "Add your servers" in gateway.output, within=60, what=lambda: gateway.output)
        import_backends(gateway, backends, tmp_path)
        with gateway.client() as client:
            eventually(
                lambda: client.get("/internal/status/endpoints").json()["healthy_count"] == len(backends),
                within=20,
                what=lambda: gateway.output,
            )
            # Healthy in the database is not yet known to the web process: each has to answer once.
            answered: set[str] = set()
            eventually(lambda: len(asked(client, answered)) == len(backends), within=10)

        served, wrong = asyncio.run(under_load(gateway.url, lambda: trouble(backends)))

        assert wrong == []
        assert set(served) == {"backend-0", "backend-1", "backend-2"}
        assert min(served.values()) > served.total() / 10  # each came back and took its part
    shutil.rmtree(gateway.home, ignore_errors=True)
