"""The rules of a local model's life: whatever is wanted comes about, step by step, and then nothing moves."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.local.choices import State, Wanted
from inference.local.lifecycle import (
    MAX_CRASHES,
    Process,
    Step,
    View,
    is_idle,
    last_use,
    next_step,
    pause_before_retry,
    resting_state,
)

VIEWS = st.builds(
    View,
    wanted=st.sampled_from(Wanted),
    state=st.sampled_from(State),
    has_files=st.booleans(),
    fetching=st.booleans(),
    process=st.sampled_from(Process),
    successor=st.sampled_from(Process),
    restart_due=st.booleans(),
    update_due=st.booleans(),
    files_unwanted=st.booleans(),
    may_try=st.booleans(),
)


# What a step leads to when all goes well, the time that it takes left out.
LEADS_TO: dict[Step, dict[str, Any]] = {
    Step.FETCH: {"state": State.DOWNLOADING, "fetching": True},
    Step.RENEW: {"successor": Process.LOADING},
    Step.SWAP: {"process": Process.HEALTHY, "successor": Process.NONE, "restart_due": False},
    Step.CANCEL_FETCH: {"fetching": False},
    Step.START: {"state": State.LOADING, "process": Process.LOADING, "restart_due": False},
    Step.OPEN: {"state": State.READY},
    Step.STOP: {"state": State.STOPPING, "process": Process.STOPPING},
    Step.KILL: {"state": State.FAILED, "process": Process.NONE},
    Step.DELETE_FILES: {"state": State.STOPPED, "has_files": False, "files_unwanted": False},
}


def settled(view: View) -> View:
    """A successor whose predecessor is gone has taken its place."""
    if view.process != Process.NONE or view.successor == Process.NONE:
        return view
    return replace(view, process=view.successor, successor=Process.NONE, state=State.LOADING)


def after(view: View, step: Step) -> View:
    return settled(_after(view, step))


def _after(view: View, step: Step) -> View:
    if step == Step.REST:
        return replace(view, state=resting_state(view.wanted))
    if step == Step.FETCH and view.process != Process.NONE:  # beside a server, which stays ready
        return replace(view, fetching=True)
    return later(view) if step == Step.NOTHING else replace(view, **LEADS_TO[step])


def later(view: View) -> View:
    """Nothing was done, and something comes to its end by itself."""
    if view.process == Process.LOADING:
        return replace(view, process=Process.HEALTHY)
    if view.process == Process.STOPPING:
        return replace(view, process=Process.NONE)
    if view.fetching:
        return replace(view, fetching=False, has_files=True, update_due=False)
    if view.successor != Process.NONE:
        ends = {Process.LOADING: Process.HEALTHY, Process.HUNG: Process.NONE, Process.STOPPING: Process.NONE}
        return replace(view, successor=ends.get(view.successor, view.successor))
    return replace(view, may_try=True)


@given(VIEWS)
def test_what_is_wanted_comes_about_and_stays(view: View) -> None:
    view = settled(view)
    for _ in range(20):
        view = after(view, next_step(view))

    ends = {Wanted.RUNNING: State.READY, Wanted.UNLOADED: State.UNLOADED}
    assert view.state == ends.get(view.wanted, State.STOPPED)
    assert (view.process == Process.HEALTHY) == (view.wanted == Wanted.RUNNING)
    assert next_step(view) == Step.NOTHING
    if view.wanted == Wanted.RUNNING:
        assert [view.restart_due, view.update_due] == [False, False]
    if view.wanted == Wanted.DOWNLOADED:
        assert view.has_files


@given(VIEWS)
def test_there_is_never_one_process_too_many(view: View) -> None:
    step = next_step(view)
    if view.process != Process.NONE or view.fetching:
        assert step not in (Step.START, Step.DELETE_FILES)
    if step == Step.FETCH:
        assert not view.fetching
    if step == Step.RENEW:
        assert view.successor == Process.NONE


@given(VIEWS)
def test_nothing_begins_for_a_model_that_is_to_stop(view: View) -> None:
    if view.wanted in (Wanted.STOPPED, Wanted.UNLOADED):
        assert next_step(view) not in (Step.START, Step.FETCH, Step.OPEN)


@given(VIEWS)
def test_a_failure_is_not_tried_again_before_its_time(view: View) -> None:
    if not view.may_try and view.process == Process.NONE:
        assert next_step(view) not in (Step.START, Step.FETCH)


def test_the_pauses_grow_and_end() -> None:
    pauses = [pause_before_retry(failures) for failures in range(1, MAX_CRASHES + 2)]

    assert pauses == [0.5, 1, 2, 4, 8, None]


@pytest.mark.parametrize(
    ("known", "expected"),
    [(None, -60), (-300, -60), (-20, -20), (0, 0), (3600, -60)],
    ids=["first", "before", "of the server before it", "now", "clock set back"],
)
def test_the_last_use_is_the_latest_that_has_been(known: int | None, expected: int) -> None:
    now = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
    moment = None if known is None else now + timedelta(seconds=known)

    assert last_use(now=now, idle_seconds=60, known=moment) == now + timedelta(seconds=expected)


@pytest.mark.parametrize(
    ("idle_seconds", "keep_alive_seconds", "expected"),
    [(60, 60, True), (59, 60, False), (10**6, None, False)],
)
def test_an_idle_model_leaves_unless_it_is_pinned(
    idle_seconds: int, keep_alive_seconds: int | None, *, expected: bool
) -> None:
    found = [
        is_idle(idle_seconds=idle_seconds, keep_alive_seconds=keep_alive_seconds, pinned=pinned)
        for pinned in (False, True)
    ]

    assert found == [expected, False]
