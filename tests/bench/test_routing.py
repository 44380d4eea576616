"""The simulated fleet of bench.routing: same run, same figures, and the point that it makes."""

from __future__ import annotations

from statistics import mean, median
from typing import TYPE_CHECKING

import pytest

from bench.routing.worth import CHATS, LOADS, TURNS, chats, simulate
from endpoints.routing.strategies import RoundRobin
from endpoints.routing.warmth import CacheAware

if TYPE_CHECKING:
    from bench.routing.worth import Asked

# Of two strategies that do as well, one may come out so much better by chance.
CHANCE = 1.1


def test_every_turn_of_every_chat_is_answered() -> None:
    assert len(simulate(RoundRobin(), chats(4.0)).first_token) == CHATS * TURNS


def test_a_simulation_comes_out_the_same_each_time() -> None:
    assert simulate(CacheAware(), chats(4.0)) == simulate(CacheAware(), chats(4.0))


def test_warm_conversations_are_found_again() -> None:
    aware, blind = simulate(CacheAware(), chats(4.0)), simulate(RoundRobin(), chats(4.0))

    assert aware.hit_bytes > 1.2 * blind.hit_bytes
    assert sum(aware.first_token) < 0.5 * sum(blind.first_token)


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS)
def test_no_load_has_to_wait_longer_than_with_round_robin(load: list[Asked]) -> None:
    aware, blind = (simulate(strategy, load) for strategy in (CacheAware(), RoundRobin()))

    assert aware.hit_bytes >= blind.hit_bytes
    assert median(aware.first_token) <= median(blind.first_token)
    assert mean(aware.first_token) <= CHANCE * mean(blind.first_token)
