"""Cache-aware: who has read most of a prompt before, against who has least to do."""

from __future__ import annotations

from collections import Counter

import pytest

from bench.routing.fleet import target
from endpoints.routing.warmth import BYTES_A_REQUEST, OWN_PAST_COUNTS, CacheAware
from tests.endpoints.choosing import begun, chosen, fleet, no_prompt, prompt, shares, tier_of


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
