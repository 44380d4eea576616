"""Targets to choose among, and requests that go to them: with a strategy and nothing else."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING
from zlib import crc32

from bench.routing.fleet import target
from endpoints.routing.selection import Candidate, Loads, Tier
from endpoints.routing.warmth import KEY_SHIFT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from endpoints.routing.selection import Strategy
    from endpoints.routing.snapshot import Target


def tier_of(*targets: Target) -> Tier:
    loads = Loads()
    return Tier(Candidate(each, loads.of(each.id)) for each in targets)


def fleet(count: int, **how: int) -> Tier:
    return tier_of(*(target(number, **how) for number in range(1, count + 1)))


def no_prompt() -> tuple[int, ...]:
    return ()


def chosen(strategy: Strategy, tier: Tier, prefix: Callable[[], Sequence[int]] = no_prompt) -> Candidate:
    """Where a request goes that is answered at once."""
    found = strategy.choose(tier, prefix)
    assert found is not None
    strategy.placed(found, prefix)
    return found


def begun(strategy: Strategy, tier: Tier, prefix: Callable[[], Sequence[int]]) -> Candidate:
    """The same for one that stays under way, its prompt read already."""
    found = chosen(strategy, tier, prefix)
    found.load.in_flight += 1
    return found


def prompt(*blocks: tuple[str, int]) -> Callable[[], tuple[int, ...]]:
    """The keys of a prompt whose blocks have these texts and lengths in bytes."""
    keys, length = [], 0
    for position, (_, size) in enumerate(blocks):
        length += size
        text = tuple(each for each, _ in blocks[: position + 1])
        keys.append(length << KEY_SHIFT | crc32(repr(text).encode()))
    return lambda: tuple(keys)


def shares(strategy: Strategy, tier: Tier, requests: int) -> Counter[int]:
    return Counter(chosen(strategy, tier).target.id for _ in range(requests))
