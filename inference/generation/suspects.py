"""After a step of the model has failed: which of its rows was it? They are tried again in halves.

A half that fails again is halved, until the guilty row stands alone and fails alone. The others go on from
the tokens that they had said. Meanwhile no new row joins, lest it be blamed for another one, or another one
for it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inference.work import Row

CLEARING_STEPS = 2
"""Steps after which a row is cleared. What failed before fails before the first one; one more for a device
that reports late."""
MOST_RESTARTS = 12
"""Enough to find two guilty rows among many. Beyond that it is not a row that fails."""


class Suspects:
    """The rows that wait for their trial, and those that are on trial now."""

    def __init__(self) -> None:
        self._groups: deque[list[Row]] = deque()
        self._joining: list[Row] = []
        self._on_trial: dict[Row, int] = {}  # with the steps that each has made since it began again

    def __bool__(self) -> bool:
        return bool(self._groups or self._joining or self._on_trial)

    @property
    def waiting(self) -> int:
        return len(self._joining) + sum(map(len, self._groups))

    def accuse(self, running: Sequence[Row]) -> tuple[list[Row], list[Row]]:
        """Of the rows of a step that failed: which have to be given up, and which are above suspicion."""
        suspects = [row for row in running if row in self._on_trial] or list(running)
        innocent = [row for row in running if row not in suspects]
        self._on_trial.clear()
        if self._joining:
            self._groups.appendleft(self._joining)
            self._joining = []
        if len(suspects) == 1:
            return suspects, innocent
        for row in running:
            row.restarts += 1
        guilty = [row for row in running if row.restarts > MOST_RESTARTS]
        suspects = [row for row in suspects if row not in guilty]
        half = (len(suspects) + 1) // 2
        self._groups.extendleft(group for group in (suspects[half:], suspects[:half]) if group)
        return guilty, [row for row in innocent if row not in guilty]

    def next_row(self) -> Row | None:
        """The next row to be tried; None while those on trial have yet to be cleared."""
        if not self._joining and not self._on_trial and self._groups:
            self._joining = self._groups.popleft()
        while self._joining:
            row = self._joining.pop(0)
            if not row.cancelled:
                self._on_trial[row] = 0
                return row
        return None

    def note_step(self, row: Row) -> None:
        """`row` has made a step."""
        if row in self._on_trial:
            self._on_trial[row] += 1
            if self._on_trial[row] >= CLEARING_STEPS:
                self.forget(row)

    def forget(self, row: Row) -> None:
        """`row` is cleared, or is there no more."""
        self._on_trial.pop(row, None)

    def clear(self) -> None:
        self._groups.clear()
        self._joining.clear()
        self._on_trial.clear()
