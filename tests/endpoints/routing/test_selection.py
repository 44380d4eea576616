"""Who is chosen by each strategy: simulated requests over tiers, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as some

from bench.routing.fleet import target
from endpoints.routing.selection import WINDOW, Candidate, Load
from endpoints.routing.strategies import STRATEGIES, LeastConnections, LeastLatency, Priority, RoundRobin
from tests.endpoints.choosing import chosen, fleet, prompt, shares, tier_of

if TYPE_CHECKING:
    from random import Random


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
