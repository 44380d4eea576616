"""Prints a run as Markdown tables that are also aligned for the terminal, and writes it as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bench.proxy import phases
from bench.proxy.targets import NGINX

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bench.proxy.figures import Aim, Figures, Footprint
    from bench.proxy.measure import Memory, Sample

MICROSECONDS_PER_MS = 1000
TENS, UNITS = 100, 10
UNKNOWN = "-"


@dataclass(frozen=True, slots=True)
class Findings:
    """All that a run found and what it says."""

    machine: dict[str, str]
    targets: dict[str, str]
    samples: Sequence[Sample]
    memory: Sequence[Memory]
    figures: Sequence[Figures]
    footprints: Sequence[Footprint]
    aims: Sequence[Aim]
    troubles: Sequence[str]


Column = tuple[str, "Callable[[Figures], str]"]


def text(findings: Findings) -> str:
    """The whole report."""
    machine = "\n".join(f"- {name}: {value}" for name, value in findings.machine.items())
    parts = [f"Machine\n\n{machine}"]
    plain = [p.name for p in phases.PLAIN]
    slow = [p.name for p in phases.SLOW]
    parts += _section(findings, "Plain requests", plain, PLAIN_COLUMNS)
    parts += _section(findings, "Streams: time to the first token", [phases.FIRST_TOKEN.name], TTFT_COLUMNS)
    parts += _section(findings, "Streams: at full speed", [phases.FULL_SPEED.name], SPEED_COLUMNS)
    parts += _section(
        findings,
        "Streams: 40 at 50 chunks/s, then 20 chunks/s each",
        [phases.STEADY.name, *slow],
        SLOW_COLUMNS,
    )
    parts += [_memory(findings.footprints), _aims(findings.aims)]
    if findings.troubles:
        parts.append("Not everything went well:\n\n" + "\n".join(f"- {line}" for line in findings.troubles))
    return "\n\n".join(part for part in parts if part)


def _section(findings: Findings, title: str, names: list[str], columns: list[Column]) -> list[str]:
    lines = [line for line in findings.figures if line.phase in names]
    if not lines:
        return []
    order = {name: place for place, name in enumerate(findings.targets)}
    lines.sort(key=lambda line: (names.index(line.phase), order[line.target]))
    rows = [[line.phase, line.target, *(show(line) for _, show in columns)] for line in lines]
    return [f"{title}\n\n" + table(["phase", "target", *(name for name, _ in columns)], rows)]


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table whose columns are aligned; the first two to the left, figures to the right."""
    widths = [max(len(row[place]) for row in [head, *rows]) for place in range(len(head))]
    left = 2 if len(head) > 2 else 1  # noqa: PLR2004

    def line(cells: list[str]) -> str:
        padded = [
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * width if place < left else "-" * (width - 1) + ":" for place, width in enumerate(widths)]
    return "\n".join([line(head), line(rule), *(line(row) for row in rows)])


def number(value: float | None) -> str:
    """Three figures that count: 1,234 / 123 / 12.3 / 1.23; a dash for what cannot be known."""
    if value is None:
        return UNKNOWN
    if abs(value) >= TENS:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= UNITS else f"{value:.2f}"


def _ms(value: float | None) -> str:
    return number(None if value is None else value / MICROSECONDS_PER_MS)


def _percent(share: float | None) -> str:
    return UNKNOWN if share is None else f"{share:.0%}"


BUSY: Column = ("driver busy", lambda line: _percent(line.driver_share))
PLAIN_COLUMNS: list[Column] = [
    ("requests/s", lambda line: number(line.requests_per_second)),
    ("p50 ms", lambda line: _ms(line.p50)),
    ("added p50 ms", lambda line: _ms(line.added_p50)),
    ("p99 ms", lambda line: _ms(line.p99)),
    ("added p99 ms", lambda line: _ms(line.added_p99)),
    ("CPU µs/request", lambda line: number(line.cpu_per_request)),
    BUSY,
]
TTFT_COLUMNS: list[Column] = [
    ("first token p50 ms", lambda line: _ms(line.first_byte_p50)),
    ("added ms", lambda line: _ms(line.added_first_byte_p50)),
    ("lag p50 ms", lambda line: _ms(line.lag_p50)),
    ("CPU µs/stream", lambda line: number(line.cpu_per_request)),
    BUSY,
]
SPEED_COLUMNS: list[Column] = [
    ("chunks/s", lambda line: number(line.chunks_per_second)),
    ("CPU µs/chunk", lambda line: number(line.cpu_per_chunk)),
    BUSY,
]
SLOW_COLUMNS: list[Column] = [
    ("chunks/s", lambda line: number(line.chunks_per_second)),
    ("lag p50 ms", lambda line: _ms(line.lag_p50)),
    ("lag p99 ms", lambda line: _ms(line.lag_p99)),
    ("first token p50 ms", lambda line: _ms(line.first_byte_p50)),
    ("CPU µs/chunk", lambda line: number(line.cpu_per_chunk)),
    ("CPU of a core", lambda line: _percent(line.cpu_share)),
    BUSY,
]


def _memory(footprints: Sequence[Footprint]) -> str:
    rows = [[f.target, number(f.at_rest), number(f.after_first), number(f.after_last)] for f in footprints]
    if not rows:
        return ""
    return "Resident memory, MiB\n\n" + table(["target", "at rest", "after round 1", "after the run"], rows)


def _aims(aims: Sequence[Aim]) -> str:
    rows = [
        [
            aim.what,
            f"{number(aim.reached)} {aim.unit}",
            f"{number(aim.limit)} {aim.unit}",
            "yes" if aim.met else "no",
        ]
        for aim in aims
    ]
    if not rows:
        return ""
    return f"What the gateway is to reach (ratios to {NGINX})\n\n" + table(
        ["aim", "reached", "at most", "met"], rows
    )


def write_json(findings: Findings, path: Path) -> None:
    content: dict[str, Any] = asdict(findings)
    path.write_text(json.dumps(content, indent=1) + "\n")
