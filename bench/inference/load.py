"""What is asked of a server, and what is measured: rates, first tokens, and the worst gap in a stream."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import math
import random
import statistics
import time
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterable

    from bench.inference.servers import Server

Figures = dict[str, float | None]  # by name; None is one that could not be measured

TIMEOUT_SECONDS = 1800
"""On a processor, with 4-bit weights and the reference BLAS, some take minutes for a first token."""
PROMPT_TOKENS, SHARED_TOKENS = 500, 400
TAILS = 4
RUNNING_ANSWER_TOKENS = 2000
GAP_STREAMS = 4
GAP_WARM_UP_CHUNKS = 12
MIXED_REQUESTS, MIXED_PER_SECOND = 60, 20
MIXED_PROMPT_TOKENS = (10, 10, 40, 40, 150)
MIXED_ANSWER_TOKENS = (8, 16, 32)
MAX_SHOWN = 200
WORDS = ("time", "year", "people", "way", "day", "man", "thing", "woman", "life", "child", "world", "school")


class NoFigureError(Exception):
    """A server has answered, and not with anything that could be measured. The message says why."""


class Stream:
    """One streamed chat completion: when its pieces came, and how many tokens it had.

    `warm` is set when it has had so many pieces as a gap needs, and when it has ended.
    """

    def __init__(self) -> None:
        self.began = 0.0
        self.times: list[float] = []
        self.tokens = 0
        self.warm = asyncio.Event()
        self.has_ended = False

    @property
    def first_token_seconds(self) -> float:
        """Raises NoFigureError when no token came."""
        if not self.times:
            raise NoFigureError("an answer came without a token")
        return self.times[0] - self.began


async def ask(
    client: httpx.AsyncClient, server: Server, prompt: str, max_tokens: int, into: Stream
) -> Stream:
    """Stream an answer to `prompt` into `into`. Raises httpx.HTTPError, NoFigureError for an error in it."""
    body = {
        "model": server.model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": max_tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    into.began = time.perf_counter()
    async with client.stream("POST", f"{server.url}/v1/chat/completions", json=body) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            _take(line, into)
    into.has_ended = True
    into.warm.set()
    return into


def _take(line: str, into: Stream) -> None:
    if not line.startswith("data: {"):
        return
    chunk: dict[str, Any] = json.loads(line.removeprefix("data: "))
    if "choices" not in chunk:
        raise NoFigureError(f"it sent {line[:MAX_SHOWN]}")
    if chunk["choices"] and chunk["choices"][0]["delta"].get("content"):
        into.times.append(time.perf_counter())
        if len(into.times) == GAP_WARM_UP_CHUNKS:
            into.warm.set()
    if chunk.get("usage"):
        into.tokens = chunk["usage"]["completion_tokens"]


def words(count: int, *, seed: object) -> str:
    """About `count` tokens that nobody has sent before."""
    chosen = random.Random(str(seed))  # noqa: S311 -- no secret
    return " ".join(chosen.choice(WORDS) for _ in range(count))


def story(seed: object) -> str:
    return f"Write a long story about {words(3, seed=seed)}. Tell every detail."


async def at_once(server: Server, streams: int, seed: str, *, answer_tokens: int) -> Figures:
    """So many streams together: tokens per second of all, seconds to first tokens and between later ones."""
    async with new_client() as client:
        began = time.perf_counter()
        done = await _all(
            ask(client, server, story(f"{seed} {place}"), answer_tokens, Stream()) for place in range(streams)
        )
        return summary(done, time.perf_counter() - began)


async def mixed(server: Server, seed: str) -> Figures:
    """Requests of all sizes that come at random moments, 20 a second, whoever is still being answered."""
    chosen = random.Random(seed)  # noqa: S311 -- no secret
    began = time.perf_counter()
    async with new_client() as client:

        async def later(seconds: float, prompt: str, answer_tokens: int) -> Stream:
            await asyncio.sleep(began + seconds - time.perf_counter())
            return await ask(client, server, prompt, answer_tokens, Stream())

        asked, comes = [], 0.0
        for number in range(MIXED_REQUESTS):
            comes += chosen.expovariate(MIXED_PER_SECOND)
            prompt = words(chosen.choice(MIXED_PROMPT_TOKENS), seed=f"{seed} {number}")
            asked.append(later(comes, prompt, chosen.choice(MIXED_ANSWER_TOKENS)))
        done = await _all(asked)
        return summary(done, time.perf_counter() - began)


async def _all(asked: Iterable[Coroutine[Any, Any, Stream]]) -> list[Stream]:
    async with _together() as group:
        tasks = [group.create_task(each) for each in asked]
    return [task.result() for task in tasks]


@contextlib.asynccontextmanager
async def _together() -> AsyncIterator[asyncio.TaskGroup]:
    """A group of tasks whose first failure ends the others, and is raised by itself."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


def summary(streams: list[Stream], seconds: float) -> Figures:
    """There is no rate when the server did not say how many tokens an answer had.

    Raises NoFigureError when an answer had none: so much less was to be done for the others.
    """
    empty = sum(not stream.tokens and not stream.times for stream in streams)
    if empty:
        raise NoFigureError(f"{empty} of {len(streams)} answers came without a token")
    firsts = [stream.first_token_seconds for stream in streams if stream.times]
    between = [
        after - before
        for stream in streams
        for before, after in zip(stream.times, stream.times[1:], strict=False)
    ]
    is_rate = all(stream.tokens for stream in streams)
    return {
        "tok/s": sum(stream.tokens for stream in streams) / seconds if is_rate else None,
        "first token p50, s": percentile(firsts, 50),
        "first token p99, s": percentile(firsts, 99),
        "between tokens p50, s": percentile(between, 50),
        "between tokens p99, s": percentile(between, 99),
    }


def percentile(values: list[float], percent: int) -> float | None:
    """The nearest rank; None of nothing."""
    ranked = sorted(values)
    return ranked[max(math.ceil(len(ranked) * percent / 100) - 1, 0)] if ranked else None


async def first_tokens(server: Server, seed: str) -> dict[str, float]:
    """Seconds to the first token of a prompt that is new, repeated, or new behind a known beginning."""
    shared = words(SHARED_TOKENS, seed=seed)
    tails = [words(PROMPT_TOKENS - SHARED_TOKENS, seed=f"{seed} {place}") for place in range(2)]
    prompts = {
        "first": f"{shared} {tails[0]}",
        "repeated": f"{shared} {tails[0]}",
        "shared": f"{shared} {tails[1]}",
    }
    async with new_client() as client:
        return {
            kind: (await ask(client, server, prompt, 2, Stream())).first_token_seconds
            for kind, prompt in prompts.items()
        }


async def shared_at_once(server: Server, seed: str) -> float:
    """Several prompts come together, each new behind the same unknown beginning: the median of the seconds to
    their first tokens.
    """
    beginning = words(SHARED_TOKENS, seed=seed)
    tails = [words(PROMPT_TOKENS - SHARED_TOKENS, seed=f"{seed} {place}") for place in range(TAILS)]
    async with new_client() as client:
        done = await _all(ask(client, server, f"{beginning} {tail}", 2, Stream()) for tail in tails)
        return statistics.median(stream.first_token_seconds for stream in done)


async def gap(server: Server, seed: str, *, long_tokens: int) -> dict[str, float]:
    """A long prompt comes while answers run: the worst gap in any of them until the long one begins, the
    usual one before, and the seconds to the long one's first token.

    Raises NoFigureError when an answer has ended before it was well under way.
    """
    running = [Stream() for _ in range(GAP_STREAMS)]
    async with new_client() as client, _together() as group:
        answering = [
            group.create_task(ask(client, server, story(f"{seed} {n}"), RUNNING_ANSWER_TOKENS, stream))
            for n, stream in enumerate(running)
        ]
        await asyncio.gather(*(stream.warm.wait() for stream in running))
        if any(stream.has_ended for stream in running):
            raise NoFigureError("an answer was over before a long prompt could come beside it")
        came = time.perf_counter()
        long = await ask(client, server, words(long_tokens, seed=seed), 1, Stream())
        began = time.perf_counter()
        for task in answering:
            task.cancel()
    usual = statistics.median(gap for stream in running for gap in _gaps(stream.times, until=came))
    seen = [stream.times if stream.has_ended else [*stream.times, began] for stream in running]
    gaps = [gap for times in seen for gap in _gaps(times, since=came)]
    if not gaps:
        raise NoFigureError("all answers were over before anything came of the long prompt")
    return {"usual": usual, "worst": max(gaps), "first": long.first_token_seconds}


def _gaps(times: list[float], *, since: float = 0.0, until: float = math.inf) -> list[float]:
    return [after - before for before, after in itertools.pairwise(times) if since < after <= until]


def new_client() -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False)
