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

import httpx
from django.conf import settings

from bench.inference import load
from bench.inference.quiet import wait_until_quiet
from bench.inference.servers import Server, dense_copy, ours, peer
from inference.hardware import kernels
from inference.hardware.blas import renamed_openblas
from inference.loading.demo import demo_chat_model

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

Figures = dict[str, dict[str, dict[int, float]]]  # by measure, by server, by round from 0


def run(options: argparse.Namespace) -> None:
    demo = demo_chat_model(settings.OLLA_MODELS_DIR)
    folder = demo if options.as_documented else dense_copy(demo, settings.OLLA_HOME / "bench" / "dense")
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(server) for server in _chosen(options, folder)]
        for server in servers:
            _warm_up(server, as_documented=options.as_documented)
        measured = measure(servers, options)
    print(f"\n{platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} at the end")
    print(table(measured, [server.name for server in servers]))
    if options.json:
        options.json.write_text(json.dumps(by_round(measured, options.rounds), indent=1) + "\n")


def _warm_up(server: Server, *, as_documented: bool) -> None:
    streams, tokens = (1, 2) if as_documented else (2, 8)
    try:
        asyncio.run(load.at_once(server, streams, "warm up", answer_tokens=tokens))
    except (httpx.HTTPError, load.NoFigureError) as error:
        print(f"{server.name} has not warmed up: {_reason(error)}", flush=True)
        wait_until_quiet(server, "warming up")
    else:
        print(f"{server.name} is ready.", flush=True)


def measure(servers: list[Server], options: argparse.Namespace) -> Figures:
    """All that `options` ask for, or what there is of it on Ctrl-C; printed as it comes."""
    measured: Figures = defaultdict(lambda: defaultdict(dict))
    try:
        for turn in range(options.rounds):
            _round(turn, servers, options, measured)
    except KeyboardInterrupt:
        print("Stopped: these are the figures so far.")
    return measured


def _round(turn: int, servers: list[Server], options: argparse.Namespace, measured: Figures) -> None:
    """Everything once, of each server in turn. What one of them fails at is left out, and nothing else."""
    for phase, count in _measurements(options):
        for server in servers if turn % 2 else reversed(servers):
            label = f"round {turn + 1}  {server.name:18}"
            try:
                found = asyncio.run(_figures(server, phase, (count, turn), options))
            except (httpx.HTTPError, load.NoFigureError) as error:
                what = f"{phase}, {count} streams" if count else phase
                print(f"{label}  {what:48} left out: {_reason(error)}", flush=True)
                wait_until_quiet(server, label)
                continue
            for name, value in found.items():
                if value is None:
                    print(f"{label}  {name:48} left out: its answers do not say", flush=True)
                    continue
                measured[name][server.name][turn] = value
                print(f"{label}  {name:48} {value:9.3f}", flush=True)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, load.NoFigureError) else f"{type(error).__name__} {error}".strip()


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
    preload = _preload(options)
    for name in options.peers:
        python = options.peers_dir / name / "bin" / "python"
        if python.exists():
            yield peer(name, folder, python, {**threads, **preload})
        else:
            print(f"{name} is not in {options.peers_dir}: left out.")


def _preload(options: argparse.Namespace) -> dict[str, str]:
    """What peers multiply with, as an environment; OpenBLAS comes last, as the others lead to it."""
    if options.as_documented or sys.platform != "linux":
        return {}
    cache_dir = settings.OLLA_HOME / "cache"
    libraries = [kernels.compiled(cache_dir)] if options.share_few_rows else []
    return {"LD_PRELOAD": " ".join(map(str, [*libraries, renamed_openblas(cache_dir)]))}


async def _figures(
    server: Server, phase: str, place: tuple[int, int], options: argparse.Namespace
) -> load.Figures:
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
        many = await load.mixed(server, seed)
        return {f"20 mixed requests/s, {name}": value for name, value in many.items()}
    found = await load.gap(server, seed, long_tokens=options.long_tokens)
    return {
        "usual gap, s": found["usual"],
        "worst gap, s": found["worst"],
        "worst / usual gap": found["worst"] / found["usual"],
        "first token, long prompt, s": found["first"],
    }


def table(measured: Figures, names: list[str]) -> str:
    """Medians, and ours (the first) to each other one as the median of the ratios within the rounds that have
    both: the machine's noise is in both of a round. A cell without a figure is empty.
    """
    ours, *others = names
    lines = [
        f"| | {' | '.join(names + [f'{ours} / {name}' for name in others])} |",
        f"|---|{'---|' * (len(names) + len(others))}",
    ]
    for measure_name, values in measured.items():
        by_server = [values.get(name, {}) for name in names]
        cells = [f"{statistics.median(rounds.values()):.3g}" if rounds else "" for rounds in by_server]
        for rounds in by_server[1:]:
            ratios = [one / rounds[turn] for turn, one in by_server[0].items() if rounds.get(turn)]
            cells.append(f"{statistics.median(ratios):.2f}" if ratios else "")
        lines.append(f"| {measure_name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def by_round(measured: Figures, rounds: int) -> dict[str, dict[str, list[float | None]]]:
    """A figure for each round, None where it was left out."""
    return {
        name: {server: [found.get(turn) for turn in range(rounds)] for server, found in values.items()}
        for name, values in measured.items()
    }
