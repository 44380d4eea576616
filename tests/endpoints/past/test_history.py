"""Uptime and incidents from flips: whatever the flips are, no second is lost, doubled, or told wrongly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoints.choices import Status
from endpoints.health.rules import FAILURES
from endpoints.past.history import (
    Flip,
    Incident,
    Kind,
    Shade,
    Stretch,
    Uptime,
    incidents,
    shades,
    stretches,
    uptime,
)

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
END = START + DAY


def minutes(number: float) -> datetime:
    return START + timedelta(minutes=number)


def flips_of(*statuses: tuple[float, Status]) -> list[Flip]:
    """Flips at these minutes after START, each from the status before; the first from unknown."""
    chain = [(0.0, Status.UNKNOWN), *statuses]
    return [Flip(minutes(at), old, new, f"it is {new}") for (_, old), (at, new) in pairwise(chain)]


@st.composite
def any_flips(draw: st.DrawFn) -> list[Flip]:
    """From an hour before START to an hour after END, sometimes several at one moment."""
    times = sorted(draw(st.lists(st.integers(-60, 25 * 60), max_size=30)))
    chain = [Status.UNKNOWN]
    for _ in times:
        chain.append(draw(st.sampled_from([status for status in Status if status != chain[-1]])))
    return [Flip(minutes(at), old, new) for at, (old, new) in zip(times, pairwise(chain), strict=True)]


@given(any_flips())
def test_stretches_cover_the_time_without_gaps_and_without_overlaps(flips: list[Flip]) -> None:
    found = stretches(flips, start=START, end=END)
    assert (found[0].start, found[-1].end) == (START, END)
    for one, next_one in pairwise(found):
        assert one.end == next_one.start
        assert one.kind != next_one.kind


@given(any_flips(), st.integers(0, 24 * 60 - 1))
def test_at_every_moment_the_last_flip_says_what_it_was(flips: list[Flip], minute: int) -> None:
    moment = minutes(minute + 0.5)
    before = [flip for flip in flips if flip.at <= moment]
    told = [s.kind for s in stretches(flips, start=START, end=END) if s.start <= moment < s.end]
    assert told == [before[-1].kind if before else Kind.NEITHER]


@given(any_flips(), st.integers(1, 24 * 60 - 1))
def test_uptimes_of_two_parts_add_up_to_that_of_the_whole(flips: list[Flip], minute: int) -> None:
    past = stretches(flips, start=START, end=END)
    whole = uptime(past, start=START, end=END)
    parts = [
        uptime(past, start=START, end=minutes(minute)),
        uptime(past, start=minutes(minute), end=END),
    ]
    assert sum(part.up_seconds for part in parts) == pytest.approx(whole.up_seconds)
    assert sum(part.down_seconds for part in parts) == pytest.approx(whole.down_seconds)


@given(any_flips())
def test_what_an_incident_lasts_is_what_counts_as_down(flips: list[Flip]) -> None:
    past = stretches(flips, start=minutes(-120), end=END + DAY)
    down = uptime(past, start=minutes(-120), end=END + DAY).down_seconds
    assert sum(i.length(END + DAY).total_seconds() for i in incidents(flips)) == pytest.approx(down)


@given(any_flips())
def test_incidents_are_apart_and_the_newest_comes_first(flips: list[Flip]) -> None:
    found = incidents(flips)
    for newer, older in pairwise(found):
        assert older.end is not None
        assert older.end <= newer.start
    for incident in found:
        assert incident.status in FAILURES or incident.status == Status.WARMING


@given(any_flips(), st.integers(1, 90))
def test_every_segment_of_a_bar_says_what_its_own_time_was(flips: list[Flip], count: int) -> None:
    past = stretches(flips, start=START, end=END)
    found = shades(past, start=START, end=END, count=count)
    for number, shade in enumerate(found):
        part = uptime(past, start=START + DAY / count * number, end=START + DAY / count * (number + 1))
        if part.down_seconds > 1:
            assert shade in {Shade.PARTLY, Shade.DOWN}
        elif part.up_seconds > 1 and not part.down_seconds:
            assert shade == Shade.UP


def test_an_outage_is_one_incident_through_all_its_stages_until_it_serves() -> None:
    flips = flips_of(
        (0, Status.HEALTHY),
        (10, Status.OFFLINE),
        (12, Status.UNHEALTHY),
        (13, Status.WARMING),
        (15, Status.HEALTHY),
    )
    incident = Incident(minutes(10), minutes(15), Status.OFFLINE, "it is offline", Status.HEALTHY)
    assert incidents(flips) == [incident]


def test_an_incident_that_lasts_has_no_end() -> None:
    (incident,) = incidents(flips_of((0, Status.HEALTHY), (10, Status.CONFIG_ERROR)))
    assert (incident.end, incident.ended_as) == (None, None)
    assert incident.length(minutes(25)) == timedelta(minutes=15)


def test_pausing_ends_an_incident_and_says_so() -> None:
    (incident,) = incidents(flips_of((10, Status.OFFLINE), (20, Status.UNKNOWN), (30, Status.HEALTHY)))
    assert (incident.end, incident.set_aside) == (minutes(20), True)


def test_loading_a_model_without_having_failed_is_no_downtime() -> None:
    past = stretches(flips_of((0, Status.WARMING), (60, Status.HEALTHY)), start=START, end=END)
    assert past == [
        Stretch(START, minutes(60), Kind.NEITHER),
        Stretch(minutes(60), END, Kind.UP),
    ]


def test_a_time_that_was_paused_does_not_lower_the_uptime() -> None:
    flips = flips_of((0, Status.HEALTHY), (60, Status.UNKNOWN), (23 * 60, Status.HEALTHY))
    assert uptime(stretches(flips, start=START, end=END), start=START, end=END).share == 1


@pytest.mark.parametrize(
    ("up", "down", "words"),
    [
        (86400, 0, "100 %"),
        (0, 60, "0 %"),
        (0, 0, "no data"),
        (999_999, 1, "99.99 %"),
        (992, 8, "99.2 %"),
        (2, 1, "66.6 %"),
    ],
)
def test_uptime_is_never_rounded_up(up: float, down: float, words: str) -> None:
    assert Uptime(up, down).words == words


def test_a_short_outage_shows_in_its_segment_and_nowhere_else() -> None:
    flips = flips_of((0, Status.HEALTHY), (20, Status.OFFLINE), (21, Status.HEALTHY))
    found = shades(stretches(flips, start=START, end=END), start=START, end=END, count=90)
    assert [place for place, shade in enumerate(found) if shade == Shade.PARTLY] == [1]
    assert found.count(Shade.UP) == 89
