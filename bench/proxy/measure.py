"""The run: rounds, in each of them every phase, in each of them every target, in shuffled order."""

from __future__ import annotations

import random
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.proxy import load, processes
from bench.proxy.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.proxy.load import LoadResult
    from bench.proxy.machine import Layout
    from bench.proxy.phases import Phase
    from bench.proxy.targets import Target

WARM_UP_SECONDS = 0.3
SETTLE_SECONDS = 0.2
TICK_SECONDS = 0.01
AT_REST = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """A phase on a target in a round.

    `driver_share` is how busy stub and generator kept a CPU together, `foreign_share` what others took of the
    target's.
    """

    round: int
    phase: str
    target: str
    result: LoadResult
    cpu_seconds: float
    driver_share: float
    foreign_share: float


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of a target after a round; round 0 is at rest, before the first request."""

    round: int
    target: str
    resident_bytes: int


@dataclass(slots=True)
class Run:
    """A run and what it has found so far."""

    targets: Sequence[Target]
    phases: Sequence[Phase]
    layout: Layout
    stub_pid: int
    samples: list[Sample]
    memory: list[Memory]

    def rounds(self, count: int) -> None:
        """Measure everything `count` times."""
        self._note_memory(AT_REST)
        order = random.Random(time.time_ns())  # noqa: S311 - an order of measurements, not a secret
        for number in range(1, count + 1):
            for phase in self.phases:
                self._say(f"round {number} of {count}: {phase.name}")
                for target in order.sample(self.targets, len(self.targets)):
                    self.samples.append(self._measure(number, phase, target))
            self._note_memory(number)
        self._say("")

    def _measure(self, number: int, phase: Phase, target: Target) -> Sample:
        cpu = self.layout.driver
        if not phase.once:
            load.run(target.url, replace(phase, seconds=WARM_UP_SECONDS), cpu=cpu)
        time.sleep(SETTLE_SECONDS)
        pids = target.pids()
        before, started = self._clocks(pids), time.monotonic()
        result = load.run(target.url, phase, cpu=cpu)
        seconds = time.monotonic() - started
        used, stub_used, busy = (now - then for now, then in zip(self._clocks(pids), before, strict=True))
        if target.pids() != pids:
            raise BenchError(f"The processes of {target.name} changed during {phase.name}: something ended.")
        driver_share = (stub_used + result.generator_cpu_seconds) / max(result.seconds, TICK_SECONDS)
        foreign_share = max(0.0, busy - used) / seconds
        return Sample(number, phase.name, target.name, result, used, driver_share, foreign_share)

    def _clocks(self, pids: tuple[int, ...]) -> tuple[float, float, float]:
        """CPU seconds so far: of the target, of the stub, and of all who use the target's CPU."""
        own = processes.cpu_seconds(pids)
        everybody = own if self.layout.target is None else processes.cpu_busy_seconds(self.layout.target)
        return own, processes.cpu_seconds((self.stub_pid,)), everybody

    def _note_memory(self, number: int) -> None:
        self.memory += [
            Memory(number, target.name, processes.resident_bytes(target.pids()))
            for target in self.targets
            if target.root is not None
        ]

    def _say(self, what: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\033[K{what}", end="", file=sys.stderr, flush=True)
        elif what:
            print(what, file=sys.stderr, flush=True)

    def troubles(self) -> Iterator[str]:
        """A sentence for every phase in which a target answered wrongly, cut short, or not in time."""
        for sample in self.samples:
            result = sample.result
            if result.errors or result.unfinished:
                reason = f" ({result.first_error})" if result.first_error else ""
                yield (
                    f"{sample.target}, {sample.phase}, round {sample.round}: "
                    f"{result.errors} errors{reason}, {result.unfinished} unfinished."
                )
