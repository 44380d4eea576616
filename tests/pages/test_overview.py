"""The sentence and the order of the cards."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from endpoints.choices import Mode, Status
from endpoints.pages.overview import Card, by_attention, summary
from endpoints.templatetags.fleet import in_words

SINCE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CARD = Card(
    id=1,
    name="mini-1",
    host="mini-1:8000",
    type="vllm-mlx",
    priority=85,
    status=Status.HEALTHY,
    mode=Mode.ACTIVE,
    reason="",
    since=SINCE,
    checked_at=SINCE,
    next_check_at=SINCE,
    latency_ms=12,
    models=(),
)
DOWN = replace(CARD, name="mini-2", status=Status.OFFLINE)


def said(*cards: Card) -> str:
    return "".join(phrase.text + ("…" if phrase.since else "") for phrase in summary(cards))


@pytest.mark.parametrize(
    ("cards", "sentence"),
    [
        ([CARD], "mini-1 serves."),
        ([CARD, replace(CARD, name="b")], "Both endpoints serve."),
        ([CARD, replace(CARD, name="b"), replace(CARD, name="c")], "All 3 endpoints serve."),
        ([DOWN], "mini-2 does not serve; it has been down for …."),
        ([CARD, DOWN], "1 of 2 endpoints serves; mini-2 has been down for …."),
        (
            [DOWN, replace(DOWN, name="x")],
            "None of 2 endpoints serves; mini-2 has been down for …, x has been down for ….",
        ),
        ([CARD, replace(CARD, name="b", mode=Mode.PAUSED)], "1 of 2 endpoints serves; b is paused."),
        (
            [CARD, replace(CARD, name="b", status=Status.UNKNOWN)],
            "1 of 2 endpoints serves; b has not been checked yet.",
        ),
        (
            [CARD, DOWN, *(replace(CARD, name=name, mode=Mode.DRAINING) for name in "xyz")],
            "1 of 5 endpoints serves; mini-2 has been down for …, 3 endpoints are draining.",
        ),
    ],
)
def test_the_sentence_says_how_the_fleet_is(cards: list[Card], sentence: str) -> None:
    assert said(*cards) == sentence


def test_the_sentence_names_two_in_trouble_and_counts_the_rest() -> None:
    cards = [replace(DOWN, name=name) for name in ("a", "b", "c", "d")]
    assert said(*cards).endswith("a has been down for …, b has been down for …, 2 more do not serve.")


def test_what_needs_attention_comes_first_then_priority_then_name() -> None:
    cards = [
        replace(CARD, name="paused", mode=Mode.PAUSED, status=Status.OFFLINE),
        replace(CARD, name="b"),
        replace(CARD, name="A"),
        replace(CARD, name="preferred", priority=99),
        replace(CARD, name="draining", mode=Mode.DRAINING),
        replace(CARD, name="warming", status=Status.WARMING),
        DOWN,
    ]
    order = [card.name for card in by_attention(cards)]
    assert order == ["mini-2", "warming", "preferred", "A", "b", "draining", "paused"]


@pytest.mark.parametrize("status", list(Status))
def test_a_paused_endpoint_is_not_counted_as_down(status: Status) -> None:
    assert not replace(CARD, status=status, mode=Mode.PAUSED).down


@pytest.mark.parametrize("status", list(Status))
def test_every_status_has_an_order_and_words_of_its_own(status: Status) -> None:
    card = replace(CARD, status=status)
    assert by_attention([card]) == [card]
    assert said(card, CARD) != ""
    assert card.status_word


def test_times_past_and_to_come_are_said_as_people_say_them() -> None:
    assert in_words(0.4, "ago") == "just now"
    assert in_words(2.9, "ago") == "2 s ago"
    assert in_words(-3.2, "in") == "in 3 s"
    assert in_words(5, "in") == "now"
    assert in_words(-1, "for") == "0 s"
