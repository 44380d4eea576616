"""The cache-aware strategy: a prompt goes where the server has lately worked on its beginning.

A model server keeps what it has computed of a prompt, and a request that begins alike need not wait for it
again. What each endpoint was sent is remembered as prefix keys: a whole number for the prompt's first block,
one for the first two, and so on. A key's upper half is the length of that prefix in bytes.

Nothing is known of a new prompt: then rendezvous hashing decides, so that several gateways, and one that was
started again, agree. Load comes before warmth: an endpoint may have a quarter more under way than the least
busy one, and for a warm prefix some requests more, the longer it is the more. So a hot prefix becomes warm in
a second place.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from endpoints.selection import ODD, WORD, least_busy, mixed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from endpoints.selection import Candidate, Prefix, Tier

KEY_SHIFT = 32
# How many prefixes are remembered, about 20 MB when full, and how many endpoints for each.
MAX_PREFIXES = 65_536
MAX_PLACES = 4
# How much more than the least busy endpoint another may have.
UNEVENNESS = 1.25
# For so many bytes of warm prefix (about 500 tokens) one more request is put up with, and at most so many.
BYTES_WORTH_A_REQUEST = 2048
MAX_EXTRA_REQUESTS = 4
# The prompts of a chat differ by their second block: the first may be a system prompt that all of them share.
PLACING_BLOCK = 1


class CacheAware:
    """Remembers where prefixes are warm."""

    def __init__(self, max_prefixes: int = MAX_PREFIXES) -> None:
        self._max_prefixes = max_prefixes
        self._places: OrderedDict[int, tuple[int, ...]] = OrderedDict()

    def choose(self, tier: Tier, prefix: Prefix) -> Candidate | None:
        """The warmest endpoint that is not too busy for it."""
        if len(tier.candidates) == 1:
            return tier.first_with_room(0)
        keys = prefix()
        if not keys:
            start = tier.next_turn()
            return least_busy(tier.window(start)) or least_busy(tier.candidates)
        placing = keys[min(PLACING_BLOCK, len(keys) - 1)]
        near = tier.neighbours(placing)
        bound = bound_of(near)
        chosen = self._warm(tier, keys, bound) or by_hash(near, placing, bound) or least_busy(tier.candidates)
        if chosen is not None:
            self._remember(keys, chosen.target.id)
        return chosen

    def _warm(self, tier: Tier, keys: Sequence[int], bound: float) -> Candidate | None:
        """The least busy of those that know the longest prefix, among those that are not too busy."""
        for key in reversed(keys):
            places = self._places.get(key)
            if places is None:
                continue
            here = [tier.by_id[place] for place in places if place in tier.by_id]
            extra = min((key >> KEY_SHIFT) // BYTES_WORTH_A_REQUEST, MAX_EXTRA_REQUESTS)
            if found := least_busy(each for each in here if each.busyness < bound + extra):
                return found
        return None

    def _remember(self, keys: Sequence[int], place: int) -> None:
        places = self._places
        for key in keys:
            known = places.get(key)
            if known is None:
                places[key] = (place,)
                continue
            if known[0] != place:
                places[key] = (place, *(each for each in known if each != place))[:MAX_PLACES]
            places.move_to_end(key)
        while len(places) > self._max_prefixes:
            places.popitem(last=False)


# These two are the most of what a choice costs: hence loops that look up no property they need not.


def bound_of(near: Iterable[Candidate]) -> float:
    """An endpoint with fewer requests under way than this is not busier than the others, as things go."""
    least: float | None = None
    for each in near:
        in_flight = each.load.in_flight
        if in_flight >= each.target.max_concurrent:
            continue
        if not in_flight and each.even:
            return 1.0
        busyness = in_flight if each.even else each.busyness
        if least is None or busyness < least:
            least = busyness
    return UNEVENNESS * (least or 0.0) + 1


def by_hash(near: Iterable[Candidate], key: int, bound: float) -> Candidate | None:
    """Rendezvous: each endpoint draws a number for the key, and the highest below the bound wins."""
    place = mixed(key)
    best: Candidate | None = None
    highest = -1
    for each in near:
        drawn = (each.point ^ place) * ODD & WORD
        if drawn <= highest:
            continue
        in_flight = each.load.in_flight
        if in_flight >= each.target.max_concurrent:
            continue
        if (in_flight if each.even else each.busyness) < bound:
            best, highest = each, drawn
    return best
