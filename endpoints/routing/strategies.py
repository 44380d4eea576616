"""The strategies by name. Each says which endpoint of a tier gets a request.

None of them draws random numbers: the same requests in the same order are placed the same way, in a test and
in production.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from endpoints.routing.selection import Blind, least_busy
from endpoints.routing.warmth import CacheAware

if TYPE_CHECKING:
    from collections.abc import Callable

    from endpoints.routing.selection import Candidate, Prefix, Strategy, Tier

# Multiples of these, without their whole part, fill the line and the square evenly.
GOLDEN_RATIO = 0.6180339887498949
PLASTIC_RATIOS = (0.7548776662466927, 0.5698402909980532)


class Priority(Blind):
    """By weight: an endpoint of weight 3 gets three times the requests of one of weight 1."""

    def choose(self, tier: Tier, prefix: Prefix) -> Candidate | None:  # noqa: ARG002
        return tier.first_with_room(tier.by_weight(tier.next_turn() * GOLDEN_RATIO % 1))


class RoundRobin(Blind):
    """One after another."""

    def choose(self, tier: Tier, prefix: Prefix) -> Candidate | None:  # noqa: ARG002
        count = len(tier.candidates)
        turn = tier.next_turn()
        if not tier.even:
            turn = next(
                (each for each in range(turn, turn + count) if tier.takes(each % count, each // count)), turn
            )
        return tier.first_with_room(turn % count)


class LeastConnections(Blind):
    """The one with the fewest requests under way, in turns among equals."""

    def choose(self, tier: Tier, prefix: Prefix) -> Candidate | None:  # noqa: ARG002
        start = tier.next_turn() % len(tier.candidates)
        return least_busy(tier.window(start)) or tier.first_with_room(start)


class LeastLatency(Blind):
    """The better of two: fewer requests under way times the recent time until an answer begins.

    Of all endpoints, always the best would get every request at once. One that was never timed goes first.
    """

    def choose(self, tier: Tier, prefix: Prefix) -> Candidate | None:  # noqa: ARG002
        turn, count = tier.next_turn(), len(tier.candidates)
        one, other = (int(turn * ratio % 1 * count) for ratio in PLASTIC_RATIOS)
        if one == other:
            other = (one + 1) % count
        pair = [each for each in (tier.candidates[one], tier.candidates[other]) if each.has_room]
        return min(pair, key=_expected_wait) if pair else tier.first_with_room(one)


def _expected_wait(candidate: Candidate) -> tuple[float, int]:
    load = candidate.load
    return (candidate.busyness + 1) * (load.to_answer or 0.0), load.in_flight


STRATEGIES: Final[dict[str, Callable[[], Strategy]]] = {
    "cache-aware": CacheAware,
    "priority": Priority,
    "round-robin": RoundRobin,
    "least-connections": LeastConnections,
    "least-latency": LeastLatency,
}
