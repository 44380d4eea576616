"""The simulated fleet of bench.routing: same run, same figures, and the point that it makes."""

from __future__ import annotations

from bench.routing.worth import CHATS, TURNS, simulate
from endpoints.strategies import RoundRobin
from endpoints.warmth import CacheAware


def test_every_turn_of_every_chat_is_answered() -> None:
    assert len(simulate(RoundRobin()).first_token) == CHATS * TURNS


def test_a_simulation_comes_out_the_same_each_time() -> None:
    assert simulate(CacheAware()) == simulate(CacheAware())


def test_warm_prompts_are_found_again() -> None:
    aware, blind = simulate(CacheAware()), simulate(RoundRobin())

    assert aware.hit_bytes > 1.2 * blind.hit_bytes
    assert sum(aware.first_token) < sum(blind.first_token)
