"""What the samples say: medians over the rounds, what a target adds to the direct way, which aims are met."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from bench.proxy.measure import AT_REST
from bench.proxy.phases import STEADY
from bench.proxy.targets import DIRECT, GATEWAY, NGINX

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.proxy.measure import Memory, Sample

MICROSECONDS = 1e6
MICROSECONDS_PER_MS = 1000
MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians of one target in one phase, over the rounds. Times in microseconds; None: not to be known."""

    phase: str
    target: str
    requests_per_second: float
    chunks_per_second: float
    p50: float
    p99: float
    added_p50: float | None
    added_p99: float | None
    first_byte_p50: float
    added_first_byte_p50: float | None
    lag_p50: float
    lag_p99: float
    cpu_per_request: float | None
    cpu_per_chunk: float | None
    cpu_share: float | None
    driver_share: float
    failed: int


@dataclass(frozen=True, slots=True)
class Footprint:
    """Resident memory in MiB: at rest, after the first round, after the last."""

    target: str
    at_rest: float
    after_first: float
    after_last: float


@dataclass(frozen=True, slots=True)
class Aim:
    """Something that the gateway is to reach. `limit` and `reached` are in `unit`; smaller is better."""

    what: str
    limit: float
    reached: float
    unit: str

    @property
    def met(self) -> bool:
        return self.reached <= self.limit


def summarise(samples: Sequence[Sample]) -> list[Figures]:
    """One line per phase and target, in the order of the run."""
    keys = dict.fromkeys((sample.phase, sample.target) for sample in samples)
    return [_figures(phase, target, samples) for phase, target in keys]


def _figures(phase: str, target: str, samples: Sequence[Sample]) -> Figures:
    ours = [sample for sample in samples if (sample.phase, sample.target) == (phase, target)]
    direct = {s.round: s.result for s in samples if (s.phase, s.target) == (phase, DIRECT)}
    # Compared within a round: what the machine does to one of the two it most likely does to the other.
    pairs = [] if target == DIRECT else [(s.result, direct[s.round]) for s in ours if s.round in direct]
    results = [sample.result for sample in ours]
    cpu = [sample for sample in ours if sample.cpu_seconds > 0]
    return Figures(
        phase=phase,
        target=target,
        requests_per_second=median(_rate(r.answers, r.seconds) for r in results),
        chunks_per_second=median(_rate(r.chunks, r.seconds) for r in results),
        p50=median(r.latency.p50 for r in results),
        p99=median(r.latency.p99 for r in results),
        added_p50=_median([ours.latency.p50 - direct.latency.p50 for ours, direct in pairs]),
        added_p99=_median([ours.latency.p99 - direct.latency.p99 for ours, direct in pairs]),
        first_byte_p50=median(r.first_byte.p50 for r in results),
        added_first_byte_p50=_median([ours.first_byte.p50 - direct.first_byte.p50 for ours, direct in pairs]),
        lag_p50=median(r.lag.p50 for r in results),
        lag_p99=median(r.lag.p99 for r in results),
        cpu_per_request=_median([MICROSECONDS * _rate(s.cpu_seconds, s.result.answers) for s in cpu]),
        cpu_per_chunk=_median([MICROSECONDS * _rate(s.cpu_seconds, s.result.chunks) for s in cpu]),
        cpu_share=_median([_rate(s.cpu_seconds, s.result.seconds) for s in cpu]),
        driver_share=median(sample.driver_share for sample in ours),
        failed=sum(r.errors + r.unfinished for r in results),
    )


def _rate(count: float, per: float) -> float:
    return count / per if per else 0.0


def _median(values: list[float]) -> float | None:
    return median(values) if values else None


def disturbance(samples: Sequence[Sample]) -> str:
    """How much of the target's CPU went to others: above a few percent, the machine was not quiet."""
    shares = [sample.foreign_share for sample in samples if sample.target != DIRECT] or [0.0]
    return f"took {median(shares):.0%} of the target's CPU (median), at most {max(shares):.0%}"


def footprints(memory: Sequence[Memory]) -> list[Footprint]:
    last = max((note.round for note in memory), default=AT_REST)
    found = {(note.target, note.round): note.resident_bytes / MIB for note in memory}
    names = dict.fromkeys(note.target for note in memory)
    return [
        Footprint(name, found[name, AT_REST], found[name, min(1, last)], found[name, last]) for name in names
    ]


@dataclass(frozen=True, slots=True)
class _Ratio:
    """An aim that is set as a ratio to nginx in the same run; `of` gives a cost."""

    what: str
    phase: str
    limit: float
    of: Callable[[Figures], float | None]


RATIOS = (
    _Ratio("added p50 at 1 connection", "plain-1", 2, lambda line: line.added_p50),
    _Ratio(
        "time per request at 16 connections", "plain-16", 7, lambda line: _rate(1, line.requests_per_second)
    ),
    _Ratio(
        "time per request at 64 connections", "plain-64", 7, lambda line: _rate(1, line.requests_per_second)
    ),
    _Ratio("CPU per relayed chunk", STEADY.name, 3, lambda line: line.cpu_per_chunk),
)
LAG_LIMIT_MS, MEMORY_LIMIT_MIB, GROWTH_LIMIT_MIB = 50, 200, 10


def aims(figures: Sequence[Figures], memory: Sequence[Footprint]) -> list[Aim]:
    """What the gateway is to reach, as far as this run can tell."""
    lines = {(line.phase, line.target): line for line in figures}
    found = []
    for ratio in RATIOS:
        ours, nginx = lines.get((ratio.phase, GATEWAY)), lines.get((ratio.phase, NGINX))
        if ours and nginx and (cost := ratio.of(ours)) and (least := ratio.of(nginx)):
            found.append(Aim(ratio.what, ratio.limit, cost / least, "times nginx"))
    if slow := lines.get(("slow-1000", GATEWAY)):
        found.append(
            Aim("lag p99 of 1,000 slow streams", LAG_LIMIT_MS, slow.lag_p99 / MICROSECONDS_PER_MS, "ms")
        )
    for footprint in memory:
        if footprint.target == GATEWAY:
            grown = footprint.after_last - footprint.after_first
            found.append(Aim("memory after the run", MEMORY_LIMIT_MIB, footprint.after_last, "MiB"))
            found.append(Aim("memory grown since round 1", GROWTH_LIMIT_MIB, grown, "MiB"))
    failed = sum(line.failed for line in figures if line.target == GATEWAY)
    found.append(Aim("answers that were wrong, cut or missing", 0, failed, "of all"))
    return found
