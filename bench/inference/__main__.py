"""`python -m bench.inference`: our model server and others in turns, or engines with random weights."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from inference.hardware.blas import accelerate

CACHE = Path("var/cache")
PHASES = ("rates", "sampled", "first", "shared", "gap", "mixed")
PEERS = ("mlx_lm.server", "vllm-mlx", "mlx-openai-server")
STREAMS = (1, 4, 8, 16, 32)


def main() -> int:
    options = arguments()
    if options.random_weights:
        print(accelerate(cache_dir=CACHE).summary)  # before anything imports mlx
        from bench.inference import in_process  # noqa: PLC0415 -- it needs no Django, the other way does

        in_process.run(options)
        return 0
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ollaproject.settings")
    import django  # noqa: PLC0415

    django.setup()
    from bench.inference import over_http  # noqa: PLC0415 -- it reads the settings

    over_http.run(options)
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.inference", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="turns of everything (%(default)s)")
    parser.add_argument("--only", choices=PHASES, nargs="+", default=PHASES, help="what is measured")
    parser.add_argument(
        "--long-tokens",
        type=int,
        default=4000,
        help="of the long prompt in `gap`, and of engines in `first` (%(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round's figures there, too")
    servers = parser.add_argument_group("servers, over HTTP")
    servers.add_argument(
        "--peers-dir",
        type=Path,
        default=Path("var/bench/peers"),
        help="where install_peers.sh has put the others; those that are not there are left out (%(default)s)",
    )
    servers.add_argument("--peers", choices=PEERS, nargs="*", default=PEERS, help="which of them")
    servers.add_argument("--streams", type=int, nargs="+", default=STREAMS, help="at once, in `rates`")
    servers.add_argument(
        "--answer-tokens", type=int, default=48, help="of each answer in `rates` (%(default)s)"
    )
    servers.add_argument("--threads", default="1", help="OPENBLAS_NUM_THREADS of all (%(default)s)")
    servers.add_argument(
        "--as-documented",
        action="store_true",
        help="the published 4-bit weights, and no BLAS but the one that each server brings by itself",
    )
    servers.add_argument(
        "--share-few-rows",
        action="store_true",
        help="give the others our own products of a few rows, too (Linux; see hardware/few_rows.cpp)",
    )
    engines = parser.add_argument_group("engines, in this process; needs no Django")
    engines.add_argument(
        "--random-weights",
        metavar="SHAPE",
        choices=("llama-3.2-3b", "llama-3.2-1b", "smollm2-135m", "tiny"),
        help="no server: our engine, mlx-lm's and the bare step of a model of this shape (%(choices)s)",
    )
    engines.add_argument("--rows", type=int, nargs="+", default=(1, 4, 8, 16, 32, 64), help="at once")
    engines.add_argument("--steps", type=int, default=64, help="steps per measurement (%(default)s)")
    return parser.parse_args()


sys.exit(main())
