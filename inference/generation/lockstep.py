"""One model on several machines that work in step: each has a part of every layer, and the same scheduler.

The first machine has the server. Before each step it tells the others, through MLX's own channel, which rows
have come and which have left, and they all take it. What a row says is drawn on the first machine only: the
others are told each token within the step, so that grammars are at home there and rounding cannot part them.
Nothing that one machine alone would decide (by its clock, its memory, its disk) is decided here.
Imports mlx: loaded by the model processes only.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np

from inference.errors import ModelError
from inference.generation.batch import Batch
from inference.generation.pace import Pace
from inference.generation.scheduler import Scheduler
from inference.work import Row, Sampling

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from inference.generation.room import Limits
    from inference.generation.sampling import Draw
    from inference.work import Step

NOT_SHARED = (
    *("deliver", "matcher", "thought_limit", "cancelled", "said", "restarts", "stuck", "cached_tokens"),
    "prompt_odds",
)
FIRST = 0
OUT_OF_STEP = "The machines that run this model together are out of step. Start it again."


@dataclass(frozen=True, slots=True)
class Turn:
    """What all machines are to know before a step. Rows are named by `numbers`, `stuck` says why they end."""

    came: dict[int, dict[str, Any]] = field(default_factory=dict)
    left: list[int] = field(default_factory=list)
    stuck: dict[int, str] = field(default_factory=dict)
    is_last: bool = False

    @property
    def is_news(self) -> bool:
        return bool(self.came or self.left or self.stuck or self.is_last)


class TurnRow(Row):
    """A row whose ends are noticed between two turns, by all machines at once."""

    number = 0
    found: str | None = None
    agreed: str | None = None

    @property
    def stuck(self) -> str | None:
        return self.agreed

    @stuck.setter
    def stuck(self, why: str | None) -> None:
        self.found = why


class Group:
    """The machines, by MLX's number of each. Every method is called by all of them at the same time."""

    def __init__(self, link: str) -> None:
        self._group = mx.distributed.init(strict=True, backend=link)
        self.size: int = self._group.size()
        self.is_first = self._group.rank() == FIRST

    def shard(self, model: Any) -> None:
        """Keep this machine's part of every layer. Raises ModelError."""
        if not hasattr(model, "shard"):
            raise ModelError(f"mlx-lm cannot spread models of type {model.model_type} over machines.")
        try:
            model.shard(self._group)
        except ValueError as error:
            raise ModelError(f"This model cannot be cut into {self.size} parts: {error}.") from error

    def least(self, number: int) -> int:
        """The least of all machines' numbers."""
        numbers: Any = mx.distributed.all_gather(mx.array([number]), group=self._group)
        return int(numbers.min().item())

    def from_first(self, tokens: Any) -> Any:
        """The first machine's `tokens`, on all of them; nothing is computed yet."""
        # Times zero and not zeros: the sums within the layers have to come before this one on every machine.
        mine = tokens if self.is_first else tokens * 0
        return mx.distributed.all_sum(mine, group=self._group)

    def tell(self, turn: Turn) -> None:
        """On the first machine. A turn without news costs one small message."""
        data = json.dumps(asdict(turn)).encode() if turn.is_news else b""
        self._sum(mx.array([len(data)]))
        if data:
            self._sum(mx.array(np.frombuffer(data, dtype=np.uint8)))

    def hear(self) -> Turn:
        """On the others: wait for what the first one tells."""
        size = int(self._sum(mx.zeros(1, dtype=mx.int32)).item())
        if not size:
            return Turn()
        said: dict[str, Any] = json.loads(np.array(self._sum(mx.zeros(size, dtype=mx.uint8))).tobytes())
        for name in ("came", "stuck"):  # JSON has no numbers as names
            said[name] = {int(number): value for number, value in said[name].items()}
        return Turn(**said)

    def _sum(self, array: Any) -> Any:
        total = mx.distributed.all_sum(array, group=self._group)
        mx.eval(total)
        return total


class SteadyPace(Pace):
    """Learns nothing from clocks, which differ: with every step a pass is computed whole."""

    def note(self, seconds: float, *, read_tokens: int = 0) -> None:
        """Nothing is learned."""

    def note_layers(self, tokens: int, *, layers: float, seconds: float) -> None:
        """Nor here."""

    def has_time(self, tokens: int, *, layers: int, seconds: float) -> bool:  # noqa: ARG002
        return True


class AgreedBatch(Batch):
    def __init__(self, model: Any, group: Group, *, most_padded_bytes: float) -> None:
        super().__init__(model, most_padded_bytes=most_padded_bytes)
        self._group = group

    def _drawn(self, logits: Any, draws: Sequence[Draw]) -> Any:
        return self._group.from_first(super()._drawn(logits, draws).astype(mx.uint32))


class TurnScheduler(Scheduler):
    """A scheduler that takes turns. What it cannot do on one machine fails on all: they must not part."""

    def __init__(self, model: Any, group: Group, *, limits: Limits, **options: Any) -> None:
        self._group = group
        super().__init__(model, limits=limits, pace=SteadyPace(limits.chunks), **options)
        self._rows: dict[int, TurnRow] = {}

    def take(self, turn: Turn, rows: Mapping[int, Row] | None = None) -> list[tuple[Any, Step]]:
        """One step, with what has changed. The first machine has the `rows` that the turn's are copies of."""
        for number, values in turn.came.items():
            row = self._rows[number] = _copy(number, values)
            if rows is not None:
                row.matcher, row.thought_limit = rows[number].matcher, rows[number].thought_limit
            self.add(row)
        for number, why in turn.stuck.items():
            self._rows[number].agreed = why
        for number in turn.left:
            self._rows.pop(number).cancelled = True
        steps: list[tuple[Any, Step]] = self.step()
        for row, step in steps:
            if step.is_last:
                self._rows.pop(row.number, None)
        return steps

    def knows(self, number: int) -> bool:
        return number in self._rows

    @property
    def stuck(self) -> dict[int, str]:
        """The rows that cannot go on, with the reason, as found on this machine."""
        return {number: row.found for number, row in self._rows.items() if row.found is not None}

    def _new_batch(self) -> Batch:
        most = self._limits.most_padded_bytes
        return AgreedBatch(self._model, self._group, most_padded_bytes=most)

    def _recover(self, failure: Exception) -> list[tuple[Row, Step]]:
        raise failure


class Leader:
    """On the first machine, in place of its scheduler: rows in, steps out, and the others kept in step."""

    def __init__(self, scheduler: TurnScheduler, group: Group) -> None:
        self._scheduler = scheduler
        self._group = group
        self._open: dict[int, Row] = {}
        self._new: list[int] = []
        self._last_number = 0
        self.in_doubt = False  # a step that fails on any machine ends them all

    @property
    def waiting(self) -> int:
        return self._scheduler.waiting + len(self._new)

    @property
    def running(self) -> int:
        return self._scheduler.running

    @property
    def max_rows(self) -> int:
        return self._scheduler.max_rows

    @property
    def places(self) -> int:
        return self._scheduler.places

    def places_for(self, tokens: Sequence[int]) -> int:
        return self._scheduler.places_for(tokens)

    @property
    def memory(self) -> dict[str, int]:
        return self._scheduler.memory

    @property
    def has_work(self) -> bool:
        return self._scheduler.has_work or bool(self._new)

    def add(self, row: Row) -> None:
        self._last_number += 1
        self._open[self._last_number] = row
        self._new.append(self._last_number)

    def step(self) -> list[tuple[Row, Step]]:
        gone = {number for number, row in self._open.items() if row.cancelled}
        came, self._new = [number for number in self._new if number not in gone], []
        turn = Turn(
            came={number: _values(self._open[number]) for number in came},
            left=sorted(number for number in gone if self._scheduler.knows(number)),
            stuck={number: why for number, why in self._scheduler.stuck.items() if number not in gone},
        )
        for number in gone:
            del self._open[number]
        self._group.tell(turn)
        return [self._told(row, step) for row, step in self._scheduler.take(turn, self._open)]

    def follow_up(self) -> list[tuple[Row, Step]]:
        """Nothing: all machines do that at the beginning of their next step."""
        return []

    def examine(self) -> None:
        """There is never a doubt."""

    def restart(self) -> None:
        raise ModelError(OUT_OF_STEP)

    def close(self) -> None:
        self._group.tell(Turn(is_last=True))
        self._scheduler.close()

    def _told(self, copy: TurnRow, step: Step) -> tuple[Row, Step]:
        """A step of a row's copy as one of the row itself."""
        row = self._open[copy.number]
        row.cached_tokens, row.prompt_odds = copy.cached_tokens, copy.prompt_odds
        if step.is_last:
            del self._open[copy.number]
        return row, step


def follow(scheduler: TurnScheduler, group: Group) -> None:
    """On the other machines: take every turn, until the first one says that it was the last."""
    while not (turn := group.hear()).is_last:
        scheduler.take(turn)


def _values(row: Row) -> dict[str, Any]:
    """What the other machines have to know of it, as JSON can say it."""
    shared = {each.name: getattr(row, each.name) for each in fields(Row) if each.name not in NOT_SHARED}
    return {**shared, "sampling": asdict(row.sampling)}


def _copy(number: int, values: dict[str, Any]) -> TurnRow:
    tuples = {name: tuple(values[name]) for name in ("stop_tokens", "guided_after")}
    chosen = Sampling(**{name: _as_tuples(value) for name, value in values["sampling"].items()})
    row = TurnRow(**{**values, **tuples, "sampling": chosen}, deliver=_to_nobody)
    row.number = number
    return row


def _as_tuples(value: Any) -> Any:
    """JSON has lists where there were tuples."""
    return tuple(map(_as_tuples, value)) if isinstance(value, list | tuple) else value


def _to_nobody(step: Any) -> None:
    """The row that it is a copy of has somebody."""
