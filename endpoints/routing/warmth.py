"""The cache-aware strategy: a prompt goes where its first token is likely to come soonest.

A model server keeps what it has computed of a prompt, and a request that begins alike need not wait for it
again. What each endpoint was sent is remembered as prefix keys: a whole number for the prompt's first block,
one for the first two, and so on. A key's upper half is the length of that prefix in bytes.

Each endpoint has a cost in bytes to be read: what prompts under way there have left to read, what of this
prompt is not warm there, and something for each request that it has more than others. The least wins. So a
prefix that many share goes to a second place as soon as waiting at the first costs more than reading it once.
It is warm at both from then on, and load alone decides between them. A conversation is not shared: what is
read for it elsewhere serves no one else and takes room in a second cache, so its own past counts several
times.

Among equals, and where nothing is known of a prompt, rendezvous hashing decides, so that several gateways,
and one that was started again, agree.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from endpoints.routing.selection import ODD, WORD, least_busy, mixed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from endpoints.routing.selection import Candidate, Prefix, Tier

KEY_SHIFT = 32
# How many prefixes are remembered, about 20 MB when full, and how many endpoints for each.
MAX_PREFIXES = 65_536
MAX_PLACES = 16
# An endpoint with so many times the requests of the least busy one is not yet busier than it, as things go.
UNEVENNESS = 1.25
# What each request beyond that costs the next one, in bytes (about 250 tokens), its own prompt not counted.
BYTES_A_REQUEST = 1024
# How many times the past of a conversation counts. All three figures are from the loads of bench.routing.
OWN_PAST_COUNTS = 3
# The prompts of a chat differ by their second block: the first may be a system prompt that all of them share.
PLACING_BLOCK = 1


class Known(msgspec.Struct, gc=False):
    """A prefix: where it was sent, the latest first, and whether a prompt ended with it that none went on."""

    places: tuple[int, ...]
    ended: bool = False


class Cost(NamedTuple):
    """What a request would wait for at a candidate, in bytes to be read."""

    candidate: Candidate
    bytes: float


class CacheAware:
    """Remembers where prefixes are warm."""

    def __init__(self, max_prefixes: int = MAX_PREFIXES) -> None:
        self._max_prefixes = max_prefixes
        self._known: OrderedDict[int, Known] = OrderedDict()

    def choose(self, tier: Tier, prefix: Prefix) -> Candidate | None:
        """The one with room that costs the least."""
        if len(tier.candidates) == 1:
            return tier.first_with_room(0)
        keys = prefix()
        if not keys:
            start = tier.next_turn()
            return least_busy(tier.window(start)) or least_busy(tier.candidates)
        warm, counts = self._warm(tier, keys)
        if warm and _is_clear(warm, counts):
            return warm[0][0]
        placing = keys[min(PLACING_BLOCK, len(keys) - 1)]
        near = tier.neighbours(placing)
        usual = UNEVENNESS * least_under_way(near)
        best = _cheapest_warm(warm, usual, counts)
        if best is None or best.bytes > 0:  # where it is not warm, nothing costs less than 0
            cold = cheapest(near, usual, placing)
            best = min((each for each in (best, cold) if each is not None), key=_bytes, default=None)
        return best.candidate if best is not None else least_busy(tier.candidates)

    def placed(self, candidate: Candidate, prefix: Prefix) -> int:
        keys, place = prefix(), candidate.target.id
        if not keys:
            return 0
        known_bytes = 0
        everything, longest = self._known, None
        for key in keys:
            known = everything.get(key)
            if known is None:
                everything[key] = Known((place,))
                continue
            longest = known
            everything.move_to_end(key)
            places = known.places
            if places[0] == place:
                known_bytes = key >> KEY_SHIFT
            elif place in places:
                known_bytes = key >> KEY_SHIFT
                at = places.index(place)
                known.places = (place, *places[:at], *places[at + 1 :])
            else:
                known.places = (place, *places[: MAX_PLACES - 1])
        if longest is not None:
            longest.ended = False
        everything[keys[-1]].ended = True
        while len(everything) > self._max_prefixes:
            everything.popitem(last=False)
        return (keys[-1] >> KEY_SHIFT) - known_bytes

    def _warm(self, tier: Tier, keys: Sequence[int]) -> tuple[list[tuple[Candidate, int]], int]:
        """Who knows how many bytes of the prompt, the most first, and how many times those count.

        When the longest known prefix is a whole prompt of before, which this one is the first to go on with,
        it is a conversation's past. When another has gone on from there, they share it.
        """
        warm: list[tuple[Candidate, int]] = []
        found: set[int] = set()
        counts = 0
        before: tuple[int, ...] = ()
        for key in reversed(keys):
            known = self._known.get(key)
            if known is None:
                continue
            counts = counts or (OWN_PAST_COUNTS if known.ended and key != keys[-1] else 1)
            if known.places == before:
                continue
            before = known.places
            for place in before:
                if place not in found and place in tier.by_id:
                    found.add(place)
                    warm.append((tier.by_id[place], key >> KEY_SHIFT))
        return warm, counts


def _is_clear(warm: Sequence[tuple[Candidate, int]], counts: int) -> bool:
    """Whether nobody can cost less than the warmest, so that none need be looked at."""
    warmest, known = warm[0]
    load = warmest.load
    if load.in_flight >= warmest.target.max_concurrent:
        return False
    if len(warm) == 1:
        return load.unread + BYTES_A_REQUEST * warmest.busyness < counts * known
    return load.in_flight == 0


def _cheapest_warm(warm: Iterable[tuple[Candidate, int]], usual: float, counts: int) -> Cost | None:
    """The one with the least cost of those that know a part of the prompt, its own share counted off."""
    costs = (
        Cost(each, each.load.unread + BYTES_A_REQUEST * max(0.0, each.busyness - usual) - counts * known)
        for each, known in warm
        if each.has_room
    )
    return min(costs, key=_bytes, default=None)


def _bytes(cost: Cost) -> float:
    return cost.bytes


# These two are the most of what a choice costs: hence loops that look up no property they need not.


def least_under_way(near: Iterable[Candidate]) -> float:
    """How many requests the least busy of those with room has."""
    least: float | None = None
    for each in near:
        in_flight = each.load.in_flight
        if in_flight >= each.target.max_concurrent:
            continue
        if not in_flight and each.even:
            return 0.0
        busyness = in_flight if each.even else each.busyness
        if least is None or busyness < least:
            least = busyness
    return least or 0.0


def cheapest(near: Iterable[Candidate], usual: float, key: int) -> Cost | None:
    """The one with the least cost for a prompt that is warm nowhere, without the prompt's own share.

    Of several with the same, the one that draws the highest number for the key.
    """
    place = mixed(key)
    best: Candidate | None = None
    least, highest = 0.0, -1
    for each in near:
        load = each.load
        in_flight = load.in_flight
        if in_flight >= each.target.max_concurrent:
            continue
        more = (in_flight if each.even else each.busyness) - usual
        cost = load.unread + BYTES_A_REQUEST * more if more > 0 else load.unread
        if best is not None and cost > least:
            continue
        drawn = (each.point ^ place) * ODD & WORD
        if best is None or cost < least or drawn > highest:
            best, least, highest = each, cost, drawn
    return Cost(best, least) if best is not None else None
