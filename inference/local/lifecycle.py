"""The rules of a local model's life, pure: what is wanted and what is there make the next step.

The supervisor looks, asks `next_step`, takes that one step, and looks again. Nothing is remembered between
two looks, so it does not matter who died in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING

from inference.local.choices import State, Wanted

if TYPE_CHECKING:
    from datetime import datetime

FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 60.0
MAX_CRASHES = 5
# One that ran for this long did not fail at its start: its next crash counts as the first.
STEADY_SECONDS = 60.0


class Process(Enum):
    """The model's server process, as the supervisor sees it now."""

    NONE = auto()
    LOADING = auto()
    HEALTHY = auto()
    HUNG = auto()
    STOPPING = auto()


class Step(Enum):
    NOTHING = auto()
    FETCH = auto()
    CANCEL_FETCH = auto()
    START = auto()
    OPEN = auto()
    """It can answer: let the gateway have it."""
    STOP = auto()
    KILL = auto()
    RENEW = auto()
    """Start a new server beside the one that runs."""
    SWAP = auto()
    """The new one can answer: let the gateway have it instead."""
    DELETE_FILES = auto()
    REST = auto()
    """Nothing runs any more and nothing shall: write down that it rests."""


@dataclass(frozen=True, slots=True)
class View:
    """One look at a model. `has_files`: they are here and were found whole. `successor` is a new server that
    loads beside the `process`; `update_due` when a person asks for what is new of its files.

    `may_try` is false after a failure, until its pause is over or a person asks again.
    """

    wanted: Wanted
    state: State
    has_files: bool = False
    fetching: bool = False
    process: Process = Process.NONE
    successor: Process = Process.NONE
    restart_due: bool = False
    update_due: bool = False
    files_unwanted: bool = False
    may_try: bool = True


def next_step(view: View) -> Step:
    if view.process != Process.NONE:
        return _with_process(view)
    needs_files = view.wanted in (Wanted.RUNNING, Wanted.DOWNLOADED)
    if view.fetching:
        return Step.NOTHING if needs_files else Step.CANCEL_FETCH
    if view.files_unwanted and not needs_files:
        return Step.DELETE_FILES
    if not needs_files or (view.wanted == Wanted.DOWNLOADED and view.has_files):
        return Step.NOTHING if view.state == resting_state(view.wanted) else Step.REST
    if not view.may_try:
        return Step.NOTHING
    return Step.START if view.has_files else Step.FETCH


def resting_state(wanted: Wanted) -> State:
    return State.UNLOADED if wanted == Wanted.UNLOADED else State.STOPPED


def last_use(*, now: datetime, idle_seconds: float, known: datetime | None) -> datetime:
    """When a model was last used, which its server says of itself alone. A `known` use that is still to come
    is from before the clock was set back.
    """
    used_at = (now - timedelta(seconds=idle_seconds)).replace(microsecond=0)
    return used_at if known is None or known > now else max(used_at, known)


def is_idle(*, idle_seconds: float, keep_alive_seconds: int | None, pinned: bool) -> bool:
    """Whether it has been unused for so long that its memory is better spent on others."""
    return not pinned and keep_alive_seconds is not None and idle_seconds >= keep_alive_seconds


def pause_before_retry(failures: int) -> float | None:
    """Seconds after the `failures`-th failure in a row; None when it is time for a person to look."""
    if failures > MAX_CRASHES:
        return None
    return float(min(FIRST_RETRY_SECONDS * 2 ** (failures - 1), LONGEST_RETRY_SECONDS))


def is_steady(ran_seconds: float) -> bool:
    return ran_seconds >= STEADY_SECONDS


def _with_process(view: View) -> Step:
    if view.process == Process.STOPPING:
        return Step.NOTHING
    if view.wanted != Wanted.RUNNING:
        return Step.STOP
    serves = view.process == Process.HEALTHY and view.state != State.STOPPING
    lags = view.process == Process.LOADING and view.state == State.READY  # it has missed a beat
    if view.restart_due and not (serves or lags):
        return Step.STOP
    if view.process == Process.HUNG:
        return Step.KILL
    if view.process == Process.HEALTHY and view.state != State.READY:
        return Step.OPEN
    return _renewal(view) if serves else Step.NOTHING


def _renewal(view: View) -> Step:
    """Of a server that is ready."""
    if view.update_due:
        return Step.NOTHING if view.fetching else Step.FETCH
    if not view.restart_due:
        return Step.NOTHING
    if view.successor == Process.NONE:
        return Step.RENEW
    return Step.SWAP if view.successor == Process.HEALTHY else Step.NOTHING
