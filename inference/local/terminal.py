"""How a terminal shows what becomes of a local model: a bar that moves, or plain lines in a file."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from inference.local import cards, hosts, record
from inference.local.choices import State
from inference.models import LocalModel
from ollaproject.wire.time_words import span

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.core.management.base import OutputWrapper

    from inference.local.cards import Card
    from inference.models import LocalModelStatus

    Done = Callable[[LocalModel, LocalModelStatus], bool]

LOOK_SECONDS = 0.25
LINE_SECONDS = 10.0
BAR_WIDTH = 24
WHOLE = 100
CLEAR = "\r\x1b[K"
GONE = "It was deleted meanwhile."


class Failed(Exception):
    """It did not come about. The message is a sentence."""


class Screen:
    """Where it is shown. On a terminal a line is written over until another state begins."""

    def __init__(self, out: OutputWrapper) -> None:
        self._out = out
        self._is_terminal = out.isatty()
        self._state: State | None = None
        self._said_at = 0.0

    def show(self, card: Card) -> None:
        if self._is_terminal:
            begins = CLEAR if self._state in (None, card.state) else "\n"
            self._out.write(f"{begins}{line(card)}", ending="")
        elif card.state != self._state or (card.moves and time.monotonic() - self._said_at > LINE_SECONDS):
            self._out.write(line(card, with_bar=False))
            self._said_at = time.monotonic()
        self._state = card.state
        self._out.flush()

    def end(self) -> None:
        if self._is_terminal and self._state is not None:
            self._out.write("")
            self._out.flush()


def line(card: Card, *, with_bar: bool = True) -> str:
    """`small  Downloading [########----------------]  33 %  45 MB of 93 MB, 12 MB/s, 4 s left`."""
    parts = [card.name, str(card.state.label)]
    if card.percent is not None and card.moves:
        parts.append(f"{bar(card.percent)} {card.percent:3d} %" if with_bar else f"{card.percent} %")
    if card.said:
        parts.append(card.said)
    return "  ".join(parts)


def bar(percent: int) -> str:
    filled = BAR_WIDTH * min(percent, WHOLE) // WHOLE
    return f"[{'#' * filled}{'-' * (BAR_WIDTH - filled)}]"


def follow(pk: int, done: Done, screen: Screen, *, within_seconds: float | None) -> None:
    """Show what becomes of a model until it is `done`. Raises Failed when it fails, or takes too long."""
    began = time.monotonic()
    while True:
        model = LocalModel.objects.select_related("status").filter(pk=pk).first()
        if model is None:
            raise Failed(GONE)
        status, machines = record.status_of(model), hosts.alive()
        screen.show(cards.card_of(model, status, machines))
        if done(model, status):
            return
        if has_failed(model, status):
            raise Failed(status.reason)
        if not any(model.host in ("", each.name) for each in machines):
            raise Failed(cards.waits_for(model))
        if within_seconds is not None and time.monotonic() - began > within_seconds:
            raise Failed(f"It took longer than {span(within_seconds)}, and goes on.")
        time.sleep(LOOK_SECONDS)


def has_failed(model: LocalModel, status: LocalModelStatus) -> bool:
    """Whether it has failed since it was last asked for, and is not tried again by itself."""
    is_old = model.wanted_at is not None and status.since < model.wanted_at
    return status.state == State.FAILED and status.retry_at is None and not is_old
