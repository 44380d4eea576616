"""Who is chosen: simulated requests over tiers, with a strategy and nothing else."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as some

from endpoints.choices import Mode, Status
from endpoints.selection import WINDOW, Candidate, Load, Loads, Tier
from endpoints.snapshot import Target
from endpoints.strategies import STRATEGIES, LeastConnections, LeastLatency, Priority, RoundRobin
from endpoints.warmth import BYTES_A_REQUEST, KEY_SHIFT, OWN_PAST_COUNTS, CacheAware

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from endpoints.selection import Strategy


def target(number: int, *, weight: int = 1, max_concurrent: int = 20) -> Target:
    return Target(
        id=number,
        name=f"mini-{number}",
        type="vllm-mlx",
        url=f"http://127.0.0.1:{number}",
        priority=85,
        status=Status.HEALTHY,
        reason="",
        mode=Mode.ACTIVE,
        models=(),
        preserve_path=False,
        connect_timeout_seconds=1,
        first_byte_timeout_seconds=1,
        idle_timeout_seconds=1,
        max_concurrent=max_concurrent,
        weight=weight,
    )


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


# --- What every strategy promises ---


@pytest.mark.parametrize("name", STRATEGIES)
@given(
    limits=some.lists(some.integers(1, 4), min_size=1, max_size=8), draw=some.randoms(use_true_random=False)
)
def test_it_chooses_one_with_room_exactly_while_there_is_one(
    name: str, limits: list[int], draw: Random
) -> None:
    strategy = STRATEGIES[name]()
    tier = tier_of(*(target(number, max_concurrent=limit) for number, limit in enumerate(limits)))
    running: list[Candidate] = []
    for _ in range(60):
        if running and draw.random() < 0.4:
            running.pop(draw.randrange(len(running))).load.in_flight -= 1
            continue
        asked = prompt((str(draw.randrange(5)), 100), ("x", 3000))
        found = strategy.choose(tier, asked)
        assert (found is not None) == (len(running) < sum(limits))
        if found is not None:
            assert found.has_room
            found.load.unread += strategy.placed(found, asked)
            found.load.in_flight += 1
            found.load.answered_after(draw.random())
            running.append(found)


@pytest.mark.parametrize("name", STRATEGIES)
def test_it_finds_the_only_one_with_room_among_many(name: str) -> None:
    tier = fleet(WINDOW * 3, max_concurrent=1)
    for each in tier.candidates:
        each.load.in_flight = 1
    tier.candidates[WINDOW + 7].load.in_flight = 0

    for turn in range(20):
        found = chosen(STRATEGIES[name](), tier, prompt((str(turn), 100)))
        assert found is tier.candidates[WINDOW + 7]


@pytest.mark.parametrize("name", STRATEGIES)
def test_it_places_the_same_requests_in_the_same_way(name: str) -> None:
    def run() -> list[int]:
        strategy, tier, placed = STRATEGIES[name](), fleet(7), []
        for turn in range(100):
            found = chosen(strategy, tier, prompt((str(turn % 9), 500)))
            found.load.in_flight = (found.load.in_flight + 1) % 5
            found.load.answered_after(turn % 11)
            placed.append(found.target.id)
        return placed

    assert run() == run()


# --- Each of them ---


def test_round_robin_takes_turns() -> None:
    strategy, tier = RoundRobin(), fleet(3)

    assert [chosen(strategy, tier).target.id for _ in range(7)] == [1, 2, 3, 1, 2, 3, 1]


def test_priority_goes_by_weight_within_a_percent() -> None:
    tier = tier_of(target(1, weight=3), target(2, weight=1), target(3, weight=6))

    counted = shares(Priority(), tier, 1000)

    assert counted == pytest.approx({1: 300, 2: 100, 3: 600}, abs=10)


def test_least_connections_goes_to_the_idlest() -> None:
    tier = fleet(4)
    for each, in_flight in zip(tier.candidates, (3, 1, 2, 5), strict=True):
        each.load.in_flight = in_flight

    assert shares(LeastConnections(), tier, 8) == {2: 8}


def test_least_connections_takes_turns_among_equals() -> None:
    assert shares(LeastConnections(), fleet(4), 40) == {1: 10, 2: 10, 3: 10, 4: 10}


def test_least_latency_sends_more_to_the_quick_and_something_to_each_pair() -> None:
    tier = fleet(3)
    for each, seconds in zip(tier.candidates, (0.1, 1.0, 1.0), strict=True):
        each.load.to_answer = seconds

    counted = shares(LeastLatency(), tier, 300)

    assert counted[1] > 180
    assert counted[2] > 20
    assert counted[3] > 20


def test_least_latency_counts_what_is_under_way() -> None:
    tier = fleet(2)
    tier.candidates[0].load.to_answer, tier.candidates[0].load.in_flight = 0.1, 15
    tier.candidates[1].load.to_answer = 1.0

    assert shares(LeastLatency(), tier, 10) == {2: 10}


def test_least_latency_tries_one_that_was_never_timed() -> None:
    tier = fleet(2)
    tier.candidates[0].load.to_answer = 0.001

    assert chosen(LeastLatency(), tier).target.id == 2


def test_a_recent_time_counts_more_than_an_old_one() -> None:
    load = Load()
    load.answered_after(1.0)
    for _ in range(20):
        load.answered_after(0.1)

    assert load.to_answer == pytest.approx(0.1, abs=0.01)


# --- Cache-aware ---


def test_a_conversation_stays_where_it_began() -> None:
    strategy, tier = CacheAware(), fleet(5)
    turns = [(f"turn {number}", 400) for number in range(20)]

    homes = {chosen(strategy, tier, prompt(*turns[: length + 1])).target.id for length in range(1, 20)}

    assert len(homes) == 1


def test_the_longest_warm_prefix_wins() -> None:
    strategy = CacheAware()
    one, two = target(1), target(2)
    chosen(strategy, tier_of(one, target(9, max_concurrent=0)), prompt(("system", 900)))
    chosen(strategy, tier_of(two, target(9, max_concurrent=0)), prompt(("system", 900), ("question", 300)))

    for _ in range(4):
        found = chosen(strategy, tier_of(one, two), prompt(("system", 900), ("question", 300), ("next", 1)))
        assert found.target.id == 2


def test_a_shared_prefix_goes_elsewhere_when_waiting_costs_more_than_reading_it() -> None:
    strategy, tier = CacheAware(), fleet(4)
    worth = 3
    placed = [
        begun(strategy, tier, prompt(("system", BYTES_A_REQUEST * worth - 1), (str(number), 1))).target.id
        for number in range(worth + 1)
    ]

    assert len(set(placed[:worth])) == 1
    assert placed[worth] != placed[0]


def test_load_alone_decides_between_those_where_a_shared_prefix_is_warm() -> None:
    strategy, tier = CacheAware(), fleet(4, max_concurrent=1000)

    for number in range(100):
        begun(strategy, tier, prompt(("system", BYTES_A_REQUEST * 2), (str(number), 100)))

    assert [each.load.in_flight for each in tier.candidates] == pytest.approx([25] * 4, abs=4)


def test_a_conversation_stays_where_a_shared_prefix_would_have_left() -> None:
    strategy, tier = CacheAware(), fleet(4)
    past = ("question", BYTES_A_REQUEST * 2 - 1)
    home = chosen(strategy, tier, prompt(past))
    home.load.in_flight = 2 * OWN_PAST_COUNTS - 1

    assert chosen(strategy, tier, prompt(past, ("next", 100))) is home
    assert chosen(strategy, tier, prompt(past, ("another", 100))) is not home


def test_an_endpoint_with_a_long_prompt_to_read_gets_no_other_meanwhile() -> None:
    strategy, tier = CacheAware(), fleet(2)
    long, short = prompt(("long", 50_000)), prompt(("long", 50_000), ("short", 1))
    reading = begun(strategy, tier, long)
    reading.load.unread = 50_000 * (OWN_PAST_COUNTS + 1)

    assert chosen(strategy, tier, prompt(("unknown", 100))) is not reading
    assert chosen(strategy, tier, short) is not reading


def test_it_says_how_much_of_a_prompt_must_be_read() -> None:
    strategy, tier = CacheAware(), fleet(2)
    one, other = tier.candidates

    assert strategy.placed(one, prompt(("system", 900), ("question", 300))) == 1200
    assert strategy.placed(one, prompt(("system", 900), ("another", 100))) == 100
    assert strategy.placed(other, prompt(("system", 900), ("another", 100))) == 1000
    assert strategy.placed(one, no_prompt) == 0


def test_one_request_after_another_stays_on_the_warm_endpoint() -> None:
    strategy, tier = CacheAware(), fleet(4)

    assert len({chosen(strategy, tier, prompt(("system", 50))).target.id for _ in range(50)}) == 1


@pytest.mark.parametrize("count", [2, 3, 10, 64, 200])
def test_unknown_prompts_are_spread_evenly(count: int) -> None:
    strategy, tier = CacheAware(), fleet(count)
    each = 100

    counted = Counter(
        chosen(strategy, tier, prompt((f"prompt {number}", 100))).target.id for number in range(each * count)
    )

    assert len(counted) == count
    assert max(counted.values()) < 1.6 * each


def test_a_started_again_gateway_finds_most_homes_again_with_one_endpoint_gone() -> None:
    whole, less = fleet(100), tier_of(*(target(number) for number in range(1, 101) if number != 50))
    prompts = [prompt((f"prompt {number}", 100)) for number in range(1000)]

    before = [chosen(CacheAware(), whole, each).target.id for each in prompts]
    after = [chosen(CacheAware(), less, each).target.id for each in prompts]

    moved = [old for old, new in zip(before, after, strict=True) if old not in (new, 50)]
    assert len(moved) < 30


def test_memory_of_prefixes_is_bounded() -> None:
    strategy, tier = CacheAware(max_prefixes=100), fleet(3)

    for number in range(1000):
        chosen(strategy, tier, prompt((f"prompt {number}", 100), ("x", 10)))

    assert len(strategy._known) == 100


def test_without_a_prompt_the_least_busy_is_asked() -> None:
    tier = fleet(3)
    tier.candidates[0].load.in_flight = tier.candidates[2].load.in_flight = 1

    assert shares(CacheAware(), tier, 5) == {2: 5}
