"""What a strategy is worth on real engines: chats and shared system prompts over three model servers.

Three `serve_model` processes behind a gateway, all on this machine, all real. Before each strategy the
gateway is started anew and every text is another, so that none profits from what the one before has warmed.
The strategies take turns, for the machine may be quicker or slower in a minute.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median, quantiles
from typing import TYPE_CHECKING, Any

import httpx

from bench.inference.load import words
from bench.inference.servers import ours
from bench.ports import free_port
from bench.routing.fakes import fakes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from bench.inference.servers import Server

ENGINES = 3
STRATEGIES = ("cache-aware", "round-robin")
# As many at once as engines: what is measured is the work of reading prompts, and no queue.
CLIENTS = ENGINES
SYSTEM_TOKENS, SYSTEM_PROMPTS = 400, 4
CHATS, TURNS, TURN_TOKENS, ANSWER_TOKENS = 10, 4, 50, 16
QUESTIONS, QUESTION_TOKENS = 32, 30
READY_SECONDS, STOP_SECONDS, TIMEOUT_SECONDS = 60, 20, 120


@dataclass(slots=True)
class Seen:
    """What came out. Times are in seconds."""

    first_token: list[float] = field(default_factory=list)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    answer_tokens: int = 0
    seconds: float = 0.0

    def add(self, other: Seen) -> None:
        self.first_token += other.first_token
        self.prompt_tokens += other.prompt_tokens
        self.cached_tokens += other.cached_tokens
        self.answer_tokens += other.answer_tokens
        self.seconds += other.seconds


def report(model: Path | None, rounds: int, loads: Sequence[str]) -> None:
    """Prints a table after each round, of all rounds so far. Without a model the servers are fakes."""
    found = {(name, strategy): Seen() for name in loads for strategy in STRATEGIES}
    with contextlib.ExitStack() as stack:
        if model is None:
            servers = stack.enter_context(fakes(ENGINES))
        else:
            servers = [stack.enter_context(ours(model, {})) for _ in range(ENGINES)]
        for number in range(rounds):
            for name in loads:
                for strategy in STRATEGIES[:: 1 if number % 2 == 0 else -1]:
                    with gateway(strategy, servers) as url:
                        seen = asyncio.run(_measured(url, LOADS[name](f"{number} {name} {strategy}")))
                    found[name, strategy].add(seen)
            served = model.name if model else "a modelled cache"
            print(f"\n{ENGINES} servers with {served}, {CLIENTS} requests at once, {number + 1} rounds:")
            head = f"{'load':22} {'strategy':14} {'cached':>7} {'first token p50':>16} {'mean':>8} {'p95':>8}"
            print(f"{head} {'tok/s':>7} {'took':>8}")
            for (name, strategy), so_far in found.items():
                _print(name, strategy, so_far)


def _print(load: str, strategy: str, seen: Seen) -> None:
    cached, times = seen.cached_tokens / seen.prompt_tokens, seen.first_token
    print(
        f"{load:22} {strategy:14} {cached:7.0%} {median(times):14.2f} s {mean(times):6.2f} s "
        f"{quantiles(times, n=20)[-1]:6.2f} s {seen.answer_tokens / seen.seconds:7.1f} {seen.seconds:6.1f} s",
        flush=True,
    )


async def chats(seed: str) -> AsyncIterator[Talk]:
    """Every chat has its turn before any has its next, as people do who read first."""
    talks = [Talk(_system(f"{seed} {number % SYSTEM_PROMPTS}")) for number in range(CHATS)]
    for turn in range(TURNS):
        for number, talk in enumerate(talks):
            await talk.free.wait()
            talk.says(words(TURN_TOKENS, seed=f"{seed} {number} {turn}"))
            yield talk


async def shared(seed: str) -> AsyncIterator[Talk]:
    """One question after another, each of a person of their own, under a few long system prompts."""
    for number in range(QUESTIONS):
        # In an order that no strategy can guess by taking turns.
        talk = Talk(_system(f"{seed} {number * 7 % 11 % SYSTEM_PROMPTS}"))
        talk.says(words(QUESTION_TOKENS, seed=f"{seed} {number}"))
        yield talk


class Talk:
    """A conversation. It is free while nobody answers."""

    def __init__(self, system: str) -> None:
        self.messages = [{"role": "system", "content": system}]
        self.free = asyncio.Event()
        self.free.set()

    def says(self, text: str) -> None:
        self.free.clear()
        self.messages.append({"role": "user", "content": text})

    def hears(self, text: str) -> None:
        self.messages.append({"role": "assistant", "content": text})
        self.free.set()


def _system(seed: str) -> str:
    return words(SYSTEM_TOKENS, seed=seed)


async def _measured(url: str, load: AsyncIterator[Talk]) -> Seen:
    seen, waiting = Seen(), asyncio.Queue[Talk | None](maxsize=1)
    started = time.perf_counter()
    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=False) as client:

        async def work() -> None:
            while (talk := await waiting.get()) is not None:
                talk.hears(await _answer(client, talk.messages, seen))

        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(work())
            async for talk in load:
                await waiting.put(talk)
            for _ in range(CLIENTS):
                await waiting.put(None)
    seen.seconds = time.perf_counter() - started
    return seen


async def _answer(client: httpx.AsyncClient, messages: list[dict[str, str]], seen: Seen) -> str:
    body = {
        "model": "bench",
        "messages": messages,
        "max_tokens": ANSWER_TOKENS,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    began, text, first = time.perf_counter(), "", 0.0
    async with client.stream("POST", "/v1/chat/completions", json=body) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            chunk: dict[str, Any] = json.loads(line[6:]) if line.startswith("data: {") else {}
            if chunk.get("choices") and (piece := chunk["choices"][0]["delta"].get("content")):
                first = first or time.perf_counter() - began
                text += piece
            if usage := chunk.get("usage"):
                seen.prompt_tokens += usage["prompt_tokens"]
                seen.cached_tokens += (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
                seen.answer_tokens += usage["completion_tokens"]
    seen.first_token.append(first or time.perf_counter() - began)
    return text


@contextlib.contextmanager
def gateway(strategy: str, servers: list[Server]) -> Iterator[str]:
    """The URL of a gateway in a home of its own, in whose fleet these servers are healthy."""
    home, port = Path(tempfile.mkdtemp(prefix="olla-bench-")), free_port()
    environment = {**os.environ, "OLLA_HOME": str(home), "OLLA_LOAD_BALANCER": strategy}
    environment.pop("DATABASE_URL", None)
    command = [sys.executable, "manage.py", "serve", "--gateway-only", "--port", str(port)]
    nowhere = subprocess.DEVNULL
    process = subprocess.Popen(command, env=environment, stdout=nowhere, stderr=nowhere)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(lambda: httpx.get(f"{url}/internal/health", trust_env=False).is_success)
        entries = [f"- {{name: {port}-{n}, url: '{each.url}'}}\n" for n, each in enumerate(servers)]
        (home / "fleet.yaml").write_text("endpoints:\n" + "".join(entries))
        importing = [sys.executable, "manage.py", "import_endpoints", str(home / "fleet.yaml")]
        subprocess.run(importing, env=environment, check=True, stdout=nowhere, stderr=nowhere)
        _wait(lambda: _healthy(url) == len(servers))
        yield url
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)
        shutil.rmtree(home, ignore_errors=True)


def _healthy(url: str) -> int:
    found: int = httpx.get(f"{url}/internal/status/endpoints", trust_env=False).json()["routable_count"]
    return found


def _wait(true: Any) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if true():
                time.sleep(1)  # until the web process has read what the database says
                return
        time.sleep(0.2)
    raise SystemExit("The gateway did not become ready.")


LOADS = {"chats": chats, "shared system prompt": shared}
