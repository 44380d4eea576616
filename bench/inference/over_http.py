"""Servers over HTTP: each answers the same requests in turns, in rounds whose order changes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import statistics
import sys
from collections import defaultdict
from typing import TYPE_CHECKING

from django.conf import settings

from bench.inference import load
from bench.inference.servers import Server, dense_copy, ours, peer
from inference.blas import renamed_openblas
from inference.demo import demo_chat_model

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

Figures = dict[str, dict[str, list[float]]]  # by measure, by server


def run(options: argparse.Namespace) -> None:
    demo = demo_chat_model(settings.OLLA_MODELS_DIR)
    folder = demo if options.as_documented else dense_copy(demo, settings.OLLA_HOME / "bench" / "dense")
    measured: Figures = defaultdict(lambda: defaultdict(list))
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(server) for server in _chosen(options, folder)]
        for server in servers:
            streams, tokens = (1, 2) if options.as_documented else (2, 8)
            asyncio.run(load.at_once(server, streams, "warm up", answer_tokens=tokens))
            print(f"{server.name} is ready.", flush=True)
        try:
            for turn in range(options.rounds):
                _round(turn, servers, options, measured)
        except KeyboardInterrupt:
            print("Stopped: these are the figures so far.")
    _print_table(measured, [server.name for server in servers])
    if options.json:
        options.json.write_text(json.dumps(measured, indent=1) + "\n")


def _round(turn: int, servers: list[Server], options: argparse.Namespace, measured: Figures) -> None:
    """Everything once, of each server in turn."""
    for phase, count in _measurements(options):
        for server in servers if turn % 2 else reversed(servers):
            found = asyncio.run(_figures(server, phase, (count, turn), options))
            for name, value in found.items():
                measured[name][server.name].append(value)
                print(f"round {turn + 1}  {server.name:18}  {name:48} {value:9.3f}", flush=True)


def _measurements(options: argparse.Namespace) -> Iterator[tuple[str, int]]:
    """Phases, and in `rates` each number of streams."""
    for phase in options.only:
        if phase == "rates":
            yield from ((phase, count) for count in options.streams)
        elif phase != "sampled":  # of engines only
            yield phase, 0


def _chosen(options: argparse.Namespace, folder: Path) -> Iterator[contextlib.AbstractContextManager[Server]]:
    threads = {"OPENBLAS_NUM_THREADS": options.threads}
    yield ours(folder, threads)
    blas = renamed_openblas(settings.OLLA_HOME / "cache") if sys.platform == "linux" else None
    preload = {"LD_PRELOAD": str(blas)} if blas and not options.as_documented else {}
    for name in options.peers:
        python = options.peers_dir / name / "bin" / "python"
        if python.exists():
            yield peer(name, folder, python, {**threads, **preload})
        else:
            print(f"{name} is not in {options.peers_dir}: left out.")


async def _figures(
    server: Server, phase: str, place: tuple[int, int], options: argparse.Namespace
) -> dict[str, float]:
    count, turn = place
    seed = f"{phase} {turn} {count}"
    if phase == "rates":
        many = await load.at_once(server, count, seed, answer_tokens=options.answer_tokens)
        return {f"{count} streams, {name}": value for name, value in many.items()}
    if phase == "first":
        times = await load.first_tokens(server, seed)
        return {f"first token, {kind} prompt, s": seconds for kind, seconds in times.items()}
    if phase == "shared":
        seconds = await load.shared_at_once(server, seed)
        return {"first token, 4 new ones that share a new beginning, s": seconds}
    if phase == "mixed":
        found = await load.mixed(server, seed)
        return {f"20 mixed requests/s, {name}": value for name, value in found.items()}
    found = await load.gap(server, seed, long_tokens=options.long_tokens)
    return {
        "usual gap, s": found["usual"],
        "worst gap, s": found["worst"],
        "worst / usual gap": found["worst"] / found["usual"],
        "first token, long prompt, s": found["first"],
    }


def _print_table(measured: Figures, names: list[str]) -> None:
    """Medians, and ours to each other one as the median of the ratios within the rounds: the machine's noise
    is in both of a round.
    """
    others = names[1:]
    print(f"\n{platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} at the end")
    print(f"| | {' | '.join(names + [f'ours / {name}' for name in others])} |")
    print(f"|---|{'---|' * (len(names) + len(others))}")
    for measure, values in measured.items():
        cells = [f"{statistics.median(values[name]):.3g}" if values[name] else "" for name in names]
        for name in others:
            pairs = zip(values[names[0]], values[name], strict=False)
            ratios = [one / other for one, other in pairs if other]
            cells.append(f"{statistics.median(ratios):.2f}" if ratios else "")
        print(f"| {measure} | {' | '.join(cells)} |")
