"""Draws a run as SVG: a small bar chart per question, readable in light and dark, no plotting library."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from bench.proxy.phases import FIRST_TOKEN, STEADY
from bench.proxy.report import number
from bench.proxy.targets import DIRECT, GATEWAY

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.proxy.figures import Figures
    from bench.proxy.report import Findings

COLUMNS = 2
WIDTH, MARGIN = 860, 24
PANEL_WIDTH = (WIDTH - MARGIN * (COLUMNS + 1)) // COLUMNS
TITLE_HEIGHT, BAR_HEIGHT, BAR_STEP, PANEL_GAP = 44, 16, 24, 30
NAME_WIDTH, VALUE_WIDTH = 74, 64
HEADER_HEIGHT = 64

STYLE = """\
  text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
  .heading { font-size: 17px; font-weight: 600 }
  .title { font-weight: 600 }
  .note { font-size: 11px; fill: #59636e }
  .value { font-variant-numeric: tabular-nums }
  .bar { fill: #b6c2cf }
  .ours { fill: #0b6bcb }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .note { fill: #9198a1 }
    .bar { fill: #4b5663 }
    .ours { fill: #58a6ff }
  }"""


@dataclass(frozen=True, slots=True)
class Panel:
    """A question, and what each target answers."""

    title: str
    note: str
    bars: list[tuple[str, float]]

    @property
    def height(self) -> int:
        return TITLE_HEIGHT + BAR_STEP * len(self.bars)


def svg(findings: Findings) -> str:
    """The whole picture, a text of its own with title and description for those who do not see it."""
    found = [panel for panel in _panels(findings) if len(panel.bars) > 1]
    parts, top = [], HEADER_HEIGHT
    for start in range(0, len(found), COLUMNS):
        row = found[start : start + COLUMNS]
        parts += [
            _draw(panel, MARGIN + place * (PANEL_WIDTH + MARGIN), top) for place, panel in enumerate(row)
        ]
        top += max(panel.height for panel in row) + PANEL_GAP
    described = " ".join(
        f"{panel.title}: {', '.join(f'{name} {number(value)}' for name, value in panel.bars)}."
        for panel in found
    )
    machine = f"{findings.machine['CPU']}; {findings.machine['run']}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" role="img" '
            'aria-labelledby="title description">',
            '<title id="title">The request path, measured side by side</title>',
            f'<desc id="description">{escape(described)}</desc>',
            f"<style>\n{STYLE}\n</style>",
            _text(MARGIN, 30, "The request path, measured side by side", "heading"),
            _text(MARGIN, 49, machine, "note"),
            *parts,
            "</svg>\n",
        ]
    )


def _panels(findings: Findings) -> list[Panel]:
    def panel(phase: str, title: str, note: str, value: Callable[[Figures], float | None]) -> Panel:
        lines = {line.target: line for line in findings.figures if line.phase == phase}
        answers = [
            (name, value(lines[name])) for name in findings.targets if name in lines and name != DIRECT
        ]
        return Panel(title, note, [(name, answer) for name, answer in answers if answer is not None])

    def added_ms(line: Figures) -> float | None:
        return line.added_p50 / 1000 if line.added_p50 is not None else None

    def added_first_token_ms(line: Figures) -> float | None:
        return line.added_first_byte_p50 / 1000 if line.added_first_byte_p50 is not None else None

    memory = [(f.target, f.after_last) for f in findings.footprints]
    return [
        panel("plain-1", "Added time per request, ms", "median at 1 connection; less is better", added_ms),
        panel(
            "plain-64",
            "Requests per second",
            "one process at 64 connections; more is better",
            lambda line: line.requests_per_second,
        ),
        panel(
            FIRST_TOKEN.name,
            "Added time to the first token, ms",
            "median of one stream after another; less is better",
            added_first_token_ms,
        ),
        panel(
            STEADY.name,
            "CPU per relayed chunk, µs",
            "40 streams of 50 chunks/s; less is better",
            lambda line: line.cpu_per_chunk,
        ),
        panel(
            "slow-1000",
            "Lag of a token at 1,000 streams, ms",
            "99th percentile, 20 tokens/s each; less is better",
            lambda line: line.lag_p99 / 1000,
        ),
        Panel(
            "Resident memory after the run, MiB",
            "nginx with its worker, the web process; less is better",
            memory,
        ),
    ]


def _draw(panel: Panel, left: int, top: int) -> str:
    longest = max((value for _, value in panel.bars), default=0.0) or 1.0
    room = PANEL_WIDTH - NAME_WIDTH - VALUE_WIDTH
    parts = [_text(left, top + 14, panel.title, "title"), _text(left, top + 31, panel.note, "note")]
    for place, (name, value) in enumerate(panel.bars):
        y = top + TITLE_HEIGHT + place * BAR_STEP
        length = max(1.0, room * max(value, 0.0) / longest)
        kind = "bar ours" if name == GATEWAY else "bar"
        parts += [
            _text(left, y + 13, name),
            f'<rect class="{kind}" x="{left + NAME_WIDTH}" y="{y}" '
            f'width="{length:.1f}" height="{BAR_HEIGHT}" rx="2"/>',
            _text(round(left + NAME_WIDTH + length + 6), y + 13, number(value), "value"),
        ]
    return "\n".join(parts)


def _text(x: int, y: int, words: str, kind: str = "") -> str:
    marked = f' class="{kind}"' if kind else ""
    return f'<text{marked} x="{x}" y="{y}">{escape(words)}</text>'
