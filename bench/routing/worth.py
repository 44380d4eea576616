"""What a strategy is worth: chats on model servers with a modelled prompt cache, in simulated time.

A modelled server works off prompts one after another, at a speed per token that its cache does not hold, and
writes all answers at once, each the slower the more there are. Its cache drops what was used longest ago.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from dataclasses import dataclass, field
from random import Random
from statistics import median, quantiles
from typing import TYPE_CHECKING

from bench.routing.fleet import target
from endpoints.selection import Candidate, Loads, Tier
from endpoints.strategies import STRATEGIES
from endpoints.warmth import KEY_SHIFT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from endpoints.selection import Strategy

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
# How long a person reads and writes between two turns, and how far apart chats begin, in seconds.
PAUSE_SECONDS, APART_SECONDS = 20.0, 4.0


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


def report() -> None:
    print(f"{CHATS} chats of {TURNS} turns, {SYSTEM_PROMPTS} system prompts, {ENDPOINTS} modelled servers:")
    print(f"{'strategy':20} {'cache hits':>10} {'first token p50':>16} {'p95':>8}")
    for name, make in STRATEGIES.items():
        seen = simulate(make())
        p95 = quantiles(seen.first_token, n=20)[-1]
        share = seen.hit_bytes / seen.prompt_bytes
        print(f"{name:20} {share:10.0%} {median(seen.first_token):14.2f} s {p95:6.2f} s")


def simulate(strategy: Strategy) -> Seen:
    loads, draw, seen = Loads(), Random(7), Seen()  # noqa: S311 - the same chats for every strategy
    tier = Tier(
        Candidate(target(number, ("m",), max_concurrent=1000), loads.of(number))
        for number in range(ENDPOINTS)
    )
    servers = {number: Server() for number in range(ENDPOINTS)}
    # What happens next: when, in which order, and either a chat's turn or an answer's end.
    events: list[tuple[float, int, tuple[int, int] | Candidate]] = []
    for chat in range(CHATS):
        heapq.heappush(events, (chat * APART_SECONDS + draw.random(), chat, (chat, 1)))
    order = CHATS
    while events:
        now, _, what = heapq.heappop(events)
        if isinstance(what, Candidate):
            what.load.in_flight -= 1
            continue
        chat, turn = what
        keys = _keys(chat, turn)
        chosen = strategy.choose(tier, _as_prefix(keys))
        if chosen is None:
            raise RuntimeError("The modelled fleet is full.")
        chosen.load.in_flight += 1
        first, ended = _served(servers[chosen.target.id], keys, now, chosen.load.in_flight, seen)
        chosen.load.answered_after(first - now)
        heapq.heappush(events, (ended, order, chosen))
        if turn < TURNS:
            pause = PAUSE_SECONDS * (0.5 + draw.random())
            heapq.heappush(events, (ended + pause, order + 1, (chat, turn + 1)))
        order += 2
    return seen


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


def _keys(chat: int, turn: int) -> tuple[int, ...]:
    system = chat % SYSTEM_PROMPTS
    keys = [SYSTEM_BYTES << KEY_SHIFT | system]
    keys += [
        (SYSTEM_BYTES + number * TURN_BYTES) << KEY_SHIFT | (1000 + chat * 100 + number)
        for number in range(1, turn * 2)
    ]
    return tuple(keys)


def _as_prefix(keys: tuple[int, ...]) -> Callable[[], tuple[int, ...]]:
    return lambda: keys
