"""Measures the gateway beside nginx and any peers, in one interleaved run, and prints what it found."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from bench.proxy import chart, figures, machine, phases, programs, report, targets
from bench.proxy.errors import BenchError
from bench.proxy.measure import Run
from bench.proxy.targets import DIRECT, Target

if TYPE_CHECKING:
    from bench.proxy.machine import Layout

INTERRUPTED = 128 + signal.SIGINT
EPILOG = """\
example:
  python -m bench.proxy --rounds 5 --json run.json --svg run.svg
  python -m bench.proxy --quick --only plain
  python -m bench.proxy --stub-port 18765 --peer other=http://127.0.0.1:8080

A peer is a proxy that you have started and whose backend is the stub: http://127.0.0.1:STUB_PORT, which looks
like vllm-mlx with the model bench-model. /v1/chat/completions is added to the peer's URL. Start it on CPU 0
(taskset -c 0 ...), where the other targets are.

phases: """ + ", ".join(phase.name for phase in phases.ALL)


def main() -> int:
    options = _parser().parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        findings = _run(options)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nbench: interrupted; everything that it started is stopped.", file=sys.stderr)
        return INTERRUPTED
    print(report.text(findings))
    if options.json:
        report.write_json(findings, options.json)
    if options.svg:
        options.svg.write_text(chart.svg(findings))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.proxy",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help="how often everything is measured (%(default)s)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="one round of short phases: a look, not a figure"
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="a phase, or all that start with NAME; may be repeated",
    )
    parser.add_argument(
        "--peer", action="append", default=[], metavar="NAME=URL", help="also measure this proxy"
    )
    parser.add_argument(
        "--stub-port", type=int, default=0, metavar="PORT", help="port of the stub (any free one)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples and figures to FILE")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the figures into FILE")
    return parser


def _interrupt(*_: object) -> NoReturn:
    """Unwind, so that everything that was started is stopped. A second signal must not interrupt that."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _run(options: argparse.Namespace) -> report.Findings:
    layout = machine.layout()
    chosen = phases.chosen(options.only, quick=options.quick)
    if not chosen:
        raise BenchError(f"No phase is called or starts with {' or '.join(options.only)}; see --help.")
    rounds = 1 if options.quick else max(1, options.rounds)
    machine.allow_many_files()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="olla-bench-")))
        port, pid = stack.enter_context(programs.stub(options.stub_port, folder=folder, cpu=layout.driver))
        measured = _targets(stack, options.peer, port, folder, layout)
        run = Run(measured, chosen, layout, pid, samples=[], memory=[])
        run.rounds(rounds)
    lines, footprints = figures.summarise(run.samples), figures.footprints(run.memory)
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return report.Findings(
        machine={
            **machine.description(),
            "others": figures.disturbance(run.samples),
            "run": f"{when}, {'one round' if rounds == 1 else f'medians of {rounds} rounds'}",
        },
        targets={target.name: target.url for target in measured},
        samples=run.samples,
        memory=run.memory,
        figures=lines,
        footprints=footprints,
        aims=figures.aims(lines, footprints),
        troubles=list(run.troubles()),
    )


def _targets(
    stack: contextlib.ExitStack, peers: list[str], port: int, folder: Path, layout: Layout
) -> list[Target]:
    found = [Target(DIRECT, f"http://127.0.0.1:{port}")]
    if machine.nginx_path():
        found.append(stack.enter_context(targets.nginx(port, folder=folder, cpu=layout.target)))
    else:
        print("nginx is not installed (Debian, Ubuntu: apt install nginx-light): no ratios.", file=sys.stderr)
    for peer in peers:
        name, separator, url = peer.partition("=")
        if not separator or not url.startswith("http://") or name in (known.name for known in found):
            raise BenchError(f"--peer {peer}: give it as NAME=http://HOST:PORT, each name once.")
        found.append(targets.peer(name, url))
    found.append(stack.enter_context(targets.gateway(port, folder=folder, cpu=layout.target)))
    return found


if __name__ == "__main__":
    sys.exit(main())
