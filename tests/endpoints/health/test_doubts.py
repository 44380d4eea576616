"""What requests say of endpoints, laid over the routing table."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from bench.routing.fleet import target
from endpoints.choices import Status
from endpoints.health.breaker import FAULTS_TO_OPEN
from endpoints.health.doubts import Doubts
from endpoints.routing.snapshot import Snapshot, Target, install, snapshot
from ollaproject.wire import clock

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def table(*targets: Target) -> Snapshot:
    return Snapshot(revision=1, targets=targets)


TWINS = table(target(1, "m1"), target(2, "m1"))


@pytest.fixture(autouse=True)
def old_table() -> Iterator[None]:
    before = snapshot()
    yield
    install(before)


@pytest.fixture
def asked() -> list[int]:
    return []


@pytest.fixture
def doubts(asked: list[int]) -> Doubts:
    made = Doubts(asked.append)
    made.publish(TWINS)
    return made


def serving(model: str = "m1") -> list[int]:
    return [each.id for each in snapshot().targets if each.routable and model in each.model_names]


def test_without_doubts_the_table_is_as_it_was_published(doubts: Doubts) -> None:
    doubts.began(1)
    doubts.succeeded(1)
    doubts.abandoned(2)
    assert snapshot() is TWINS


def test_one_broken_connection_takes_an_endpoint_out_with_the_reason(doubts: Doubts) -> None:
    doubts.failed(1, "connection refused", broken=True)
    assert serving() == [2]
    assert (snapshot().targets[0].status, snapshot().targets[0].reason) == (
        Status.UNHEALTHY,
        "connection refused",
    )


def test_a_check_is_asked_for_once_however_many_requests_fail(doubts: Doubts, asked: list[int]) -> None:
    for _ in range(100):
        doubts.failed(1, "connection refused", broken=True)
    assert asked == [1]


def test_it_comes_back_with_a_good_check_that_began_later(doubts: Doubts) -> None:
    doubts.failed(1, "connection refused", broken=True)
    doubts.review({1: clock.now()})
    assert serving() == [1, 2]


def test_a_good_check_that_began_before_changes_nothing(doubts: Doubts) -> None:
    doubts.failed(1, "connection refused", broken=True)
    doubts.review({1: LONG_AGO})
    assert serving() == [2]


def test_what_broke_again_since_the_check_stays_out(doubts: Doubts) -> None:
    doubts.failed(1, "connection refused", broken=True)
    checked = clock.now()
    doubts.failed(1, "connection refused", broken=True)
    doubts.review({1: checked - timedelta(microseconds=1)})
    assert serving() == [2]


def test_suspicion_outlives_a_new_routing_table(doubts: Doubts) -> None:
    doubts.failed(1, "connection refused", broken=True)
    doubts.publish(table(target(1, "m1", "m2"), target(2, "m1", "m2")))
    assert serving("m2") == [2]


def test_what_the_checks_take_out_comes_back_without_a_doubt(doubts: Doubts) -> None:
    for _ in range(FAULTS_TO_OPEN):
        doubts.failed(1, "connection refused", broken=True)
    doubts.publish(table(target(1, "m1", status=Status.OFFLINE), target(2, "m1")))
    doubts.publish(TWINS)
    assert serving() == [1, 2]
    assert not doubts


def test_the_last_one_that_serves_a_model_is_still_tried(doubts: Doubts) -> None:
    doubts.failed(1, "connection refused", broken=True)
    doubts.failed(2, "connection refused", broken=True)
    assert serving() == [1, 2]


def test_only_the_models_that_a_sibling_serves_go_there(doubts: Doubts) -> None:
    doubts.publish(table(target(1, "m1", "m2"), target(2, "m1")))
    doubts.failed(1, "connection refused", broken=True)
    assert (serving("m1"), serving("m2")) == ([2], [1])


def test_an_endpoint_of_another_type_is_no_sibling(doubts: Doubts) -> None:
    doubts.publish(table(target(1, "m1"), target(2, "m1", type="openai-compatible")))
    doubts.failed(1, "connection refused", broken=True)
    assert serving() == [1, 2]


def test_neither_is_one_that_is_down(doubts: Doubts) -> None:
    doubts.publish(table(target(1, "m1"), target(2, "m1", status=Status.OFFLINE)))
    doubts.failed(1, "connection refused", broken=True)
    assert serving() == [1]


def test_single_answers_of_5xx_leave_it_in(doubts: Doubts, asked: list[int]) -> None:
    doubts.failed(1, "answered 500", broken=False)
    doubts.succeeded(1)
    assert serving() == [1, 2]
    assert asked == []
    assert snapshot() is TWINS


def test_many_of_them_in_a_row_open_the_breaker_although_checks_are_good(
    doubts: Doubts, asked: list[int]
) -> None:
    for _ in range(FAULTS_TO_OPEN):
        doubts.failed(1, "answered 500", broken=False)
    doubts.review({1: clock.now()})
    assert serving() == [2]
    assert asked == [1]


def test_a_table_that_somebody_else_installed_is_built_upon(doubts: Doubts) -> None:
    doubts.failed(1, "connection refused", broken=True)
    install(replace(TWINS, revision=7, targets=(*TWINS.targets, target(3, "m3"))))
    doubts.failed(1, "connection refused", broken=True)
    assert (serving(), serving("m3"), snapshot().revision) == ([2], [3], 7)
