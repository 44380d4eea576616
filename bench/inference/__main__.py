"""`python -m bench.inference`: our model server and mlx_lm.server in turns, medians and their ratios."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import platform
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ollaproject.settings")

import django

django.setup()

from django.conf import settings  # noqa: E402 -- Django comes first

from bench.inference import load  # noqa: E402
from bench.inference.servers import Server, dense_copy, mlx_lm_server, ours  # noqa: E402
from inference.blas import renamed_openblas  # noqa: E402
from inference.demo import demo_chat_model  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

PHASES = ("rates", "first", "gap")
STREAMS = (1, 8, 16)


def main() -> int:
    options = arguments()
    folder = dense_copy(demo_chat_model(settings.OLLA_MODELS_DIR), settings.OLLA_HOME / "bench" / "dense")
    measured: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(server) for server in chosen_servers(options, folder)]
        for server in servers:
            asyncio.run(load.total_rate(server, 2, "warm up"))
        for turn in range(options.rounds):
            for phase in options.only or PHASES:
                for server in servers if turn % 2 else reversed(servers):
                    for name, value in asyncio.run(figures(server, phase, f"{phase} {turn}")).items():
                        measured[name][server.name].append(value)
                        print(f"round {turn + 1}  {server.name:14}  {name:34} {value:8.3f}", flush=True)
    print_table(measured, [server.name for server in servers])
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.inference", description=__doc__)
    parser.add_argument("--peer-python", type=Path, help="python of a virtual environment with mlx-lm")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=PHASES, nargs="+")
    parser.add_argument("--threads", default="1", help="OPENBLAS_NUM_THREADS of both (%(default)s)")
    return parser.parse_args()


def chosen_servers(
    options: argparse.Namespace, folder: Path
) -> Iterator[contextlib.AbstractContextManager[Server]]:
    os.environ["OPENBLAS_NUM_THREADS"] = options.threads
    yield ours(folder)
    if options.peer_python:
        blas = renamed_openblas(settings.OLLA_HOME / "cache") if sys.platform == "linux" else None
        yield mlx_lm_server(folder, options.peer_python, blas, options.threads)


async def figures(server: Server, phase: str, seed: str) -> dict[str, float]:
    if phase == "rates":
        return {
            f"{streams} streams, tok/s": await load.total_rate(server, streams, f"{seed} {streams}")
            for streams in STREAMS
        }
    if phase == "first":
        times = await load.first_tokens(server, seed)
        return {f"first token, {kind} prompt, s": seconds for kind, seconds in times.items()}
    found = await load.gap(server, seed)
    return {
        "usual gap, s": found["usual"],
        "worst gap, s": found["worst"],
        "worst / usual gap": found["worst"] / found["usual"],
        "first token, long prompt, s": found["first"],
    }


def print_table(measured: dict[str, dict[str, list[float]]], names: list[str]) -> None:
    """Medians, and the median of the ratios within the rounds: the machine's noise is in both of a round."""
    print(f"\n{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    print(f"| | {' | '.join(names)} | ratio |\n|---|{'---|' * (len(names) + 1)}")
    for name, values in measured.items():
        cells = [f"{statistics.median(values[server]):.3g}" for server in names]
        pairs = zip(values[names[0]], values[names[-1]], strict=True)
        ratio = statistics.median(one / other for one, other in pairs)
        print(f"| {name} | {' | '.join(cells)} | {ratio:.2f} |")


sys.exit(main())
