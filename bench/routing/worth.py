"""What a strategy is worth: chats and shared prompts on servers with a modelled cache, in simulated time.

A modelled server works off prompts one after another, at a speed per token that its cache does not hold, and
writes all answers at once, each the slower the more there are. Its cache drops what was used longest ago.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from random import Random
from statistics import mean, median, quantiles
from typing import TYPE_CHECKING

from bench.routing.fleet import target
from endpoints.routing.selection import Candidate, Loads, Tier
from endpoints.routing.strategies import STRATEGIES
from endpoints.routing.warmth import KEY_SHIFT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from endpoints.routing.selection import Load, Strategy

ENDPOINTS = 3
CHATS = 120
TURNS = 8
SYSTEM_PROMPTS = 6
SYSTEM_BYTES, TURN_BYTES = 4000, 800
BYTES_PER_TOKEN = 4
PREFILL_TOKENS_PER_SECOND = 1000
ANSWER_TOKENS = 80
DECODE_TOKENS_PER_SECOND = 45
# What one more stream costs the others.
SLOWER_PER_STREAM = 0.12
CACHE_BYTES = 600_000
# How long a person reads and writes between two turns, in seconds.
PAUSE_SECONDS = 20.0
# Questions that share a system prompt and nothing else.
QUESTIONS, QUESTION_BYTES, BLOCK_BYTES = 600, 400, 1024


@dataclass(slots=True)
class Server:
    """One endpoint's engine."""

    free_at: float = 0.0
    cache: OrderedDict[int, int] = field(default_factory=OrderedDict)
    cached_bytes: int = 0

    def hit(self, keys: Sequence[int]) -> int:
        """The bytes of the longest prefix that is in the cache. All of the prompt is, afterwards."""
        found = 0
        for key in keys:
            if key in self.cache:
                found = key >> KEY_SHIFT
                self.cache.move_to_end(key)
        before = 0
        for key in keys:
            if key not in self.cache:
                self.cache[key] = (key >> KEY_SHIFT) - before
                self.cached_bytes += self.cache[key]
            before = key >> KEY_SHIFT
        while self.cached_bytes > CACHE_BYTES:
            self.cached_bytes -= self.cache.popitem(last=False)[1]
        return found


@dataclass(slots=True)
class Seen:
    """What came out. Times are in seconds."""

    first_token: list[float] = field(default_factory=list)
    hit_bytes: int = 0
    prompt_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """A request at a time. When it is answered, the same chat asks `more` times again."""

    at: float
    keys: tuple[int, ...]
    chat: int = 0
    more: int = 0


def chats(apart_seconds: float) -> list[Asked]:
    """The first turns of chats that begin so far apart."""
    draw = Random(7)  # noqa: S311 - the same for every strategy
    return [
        Asked(number * apart_seconds + draw.random(), _turn(number, 1), number, TURNS - 1)
        for number in range(CHATS)
    ]


def shared(per_second: float, system_bytes: int, prompts: int) -> list[Asked]:
    """Questions at random times, under one of so many long system prompts."""
    draw, at, asked = Random(3), 0.0, []  # noqa: S311
    for number in range(QUESTIONS):
        at += draw.expovariate(per_second)
        system = draw.randrange(prompts)
        ends = [*range(BLOCK_BYTES, system_bytes, BLOCK_BYTES), system_bytes]
        keys = [end << KEY_SHIFT | system * 100 + block for block, end in enumerate(ends)]
        asked.append(Asked(at, (*keys, system_bytes + QUESTION_BYTES << KEY_SHIFT | 100_000 + number)))
    return asked


def report() -> None:
    print(f"{ENDPOINTS} modelled servers:")
    for load, asked in LOADS.items():
        print(
            f"\n{load}\n{'strategy':20} {'cache hits':>10} {'first token p50':>16} {'mean':>10} {'p95':>10}"
        )
        for name, make in STRATEGIES.items():
            seen = simulate(make(), asked)
            times = seen.first_token
            share = seen.hit_bytes / seen.prompt_bytes
            print(
                f"{name:20} {share:10.0%} {median(times):14.2f} s {mean(times):8.2f} s "
                f"{quantiles(times, n=20)[-1]:8.2f} s"
            )


def simulate(strategy: Strategy, load: Iterable[Asked]) -> Seen:
    loads, draw, seen = Loads(), Random(7), Seen()  # noqa: S311
    tier = Tier(
        Candidate(target(number, "m", max_concurrent=1000), loads.of(number)) for number in range(ENDPOINTS)
    )
    servers = {number: Server() for number in range(ENDPOINTS)}
    order = count()
    # What happens next: when, in which order, and either a request or what to do.
    events: list[tuple[float, int, Asked | Callable[[], None]]] = []

    def later(at: float, what: Asked | Callable[[], None]) -> None:
        heapq.heappush(events, (at, next(order), what))

    for each in load:
        later(each.at, each)
    while events:
        now, _, what = heapq.heappop(events)
        if callable(what):
            what()
            continue
        prefix = _as_prefix(what.keys)
        chosen = strategy.choose(tier, prefix)
        if chosen is None:
            raise RuntimeError("The modelled fleet is full.")
        unread = strategy.placed(chosen, prefix)
        chosen.load.in_flight += 1
        chosen.load.unread += unread
        first, ended = _served(servers[chosen.target.id], what.keys, now, chosen.load.in_flight, seen)
        chosen.load.answered_after(first - now)
        later(first, partial(_has_begun, chosen.load, unread))
        later(ended, partial(_has_ended, chosen.load))
        if what.more:
            at = ended + PAUSE_SECONDS * (0.5 + draw.random())
            later(at, Asked(at, _turn(what.chat, TURNS - what.more + 1), what.chat, what.more - 1))
    return seen


def _has_begun(load: Load, unread: int) -> None:
    load.unread -= unread


def _has_ended(load: Load) -> None:
    load.in_flight -= 1


def _served(server: Server, keys: Sequence[int], now: float, streams: int, seen: Seen) -> tuple[float, float]:
    """When the first token comes and when the answer has ended."""
    length = keys[-1] >> KEY_SHIFT
    hit = server.hit(keys)
    seen.hit_bytes += hit
    seen.prompt_bytes += length
    prefill = (length - hit) / BYTES_PER_TOKEN / PREFILL_TOKENS_PER_SECOND
    server.free_at = first = max(now, server.free_at) + prefill
    seen.first_token.append(first - now)
    slower = 1 + SLOWER_PER_STREAM * (streams - 1)
    return first, first + ANSWER_TOKENS / DECODE_TOKENS_PER_SECOND * slower


def _turn(chat: int, turn: int) -> tuple[int, ...]:
    system = chat % SYSTEM_PROMPTS
    keys = [SYSTEM_BYTES << KEY_SHIFT | system]
    keys += [
        (SYSTEM_BYTES + number * TURN_BYTES) << KEY_SHIFT | (1000 + chat * 100 + number)
        for number in range(1, turn * 2)
    ]
    return tuple(keys)


def _as_prefix(keys: tuple[int, ...]) -> Callable[[], tuple[int, ...]]:
    return lambda: keys


LOADS: dict[str, list[Asked]] = {
    f"{CHATS} chats of {TURNS} turns, {SYSTEM_PROMPTS} system prompts, one every 4 s": chats(4.0),
    "the same chats, one a second": chats(1.0),
    f"{QUESTIONS} questions, 4 system prompts of 4 KB, 6 a second": shared(6.0, 4000, 4),
    f"{QUESTIONS} questions, one system prompt of 8 KB, 12 a second": shared(12.0, 8000, 1),
    f"{QUESTIONS} questions, one system prompt of 32 KB, 4 a second": shared(4.0, 32_000, 1),
}
