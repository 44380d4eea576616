"""Engines against each other and against the bare model, with random weights: `--random-weights SHAPE`."""

from __future__ import annotations

import json
import platform
import statistics
from collections import defaultdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import mlx.core as mx

from bench.inference import engines
from bench.inference.engines import MlxLm, Ours
from bench.inference.weights import random_model, vocabulary_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

KINDS: tuple[Callable[..., Any], ...] = (Ours, MlxLm)
FIRST_PROMPT_TOKENS = 500
SHARED_SHARE = 0.8, 0.9  # how much of such a prompt, and of a long one, others share
GAP_ROWS = 8

Figures = dict[str, dict[str, list[float]]]  # by measure, by engine


def run(options: argparse.Namespace) -> None:
    shape = options.random_weights
    model, vocabulary = random_model(shape), vocabulary_of(shape)
    about = {
        "shape": shape,
        "dtype": str(model.model.norm.weight.dtype).removeprefix("mlx.core."),
        "device": _device(),
        "mlx": version("mlx"),
        "mlx_lm": version("mlx-lm"),
        "python": platform.python_version(),
    }
    print(f"random weights; {'; '.join(f'{name} {value}' for name, value in about.items())}", flush=True)
    figures: Figures = defaultdict(lambda: defaultdict(list))
    try:
        for turn in range(options.rounds):
            for phase in options.only:
                if phase in PHASES:
                    PHASES[phase](model, vocabulary, options, turn, figures)
    finally:
        mx.synchronize()
        mx.clear_streams()
    print_table(figures)
    if options.json:
        options.json.write_text(json.dumps({**about, "figures": figures}, indent=1) + "\n")


def _rates(model: Any, vocabulary: int, options: argparse.Namespace, turn: int, figures: Figures) -> None:
    for rows in options.rows:
        measure = f"{rows} rows, greedy, tok/s"
        _note(figures, measure, "bare step", engines.bare_rate(model, rows, options.steps))
        _each(model, vocabulary, (measure, rows, turn), options, figures, sampled=False)


def _sampled_rates(
    model: Any, vocabulary: int, options: argparse.Namespace, turn: int, figures: Figures
) -> None:
    for rows in options.rows:
        measure = f"{rows} rows, temperature 0.8 and top_p 0.9, tok/s"
        _each(model, vocabulary, (measure, rows, turn), options, figures, sampled=True)


def _each(
    model: Any,
    vocabulary: int,
    what: tuple[str, int, int],
    options: argparse.Namespace,
    figures: Figures,
    *,
    sampled: bool,
) -> None:
    measure, rows, turn = what
    for kind in _in_turn(turn):
        engine = kind(model, sampled=sampled)
        found = engines.rate(engine, rows, options.steps, vocabulary=vocabulary, seed=turn)
        engine.close()
        _note(figures, measure, engine.name, found)


def _first_tokens(
    model: Any,
    vocabulary: int,
    options: argparse.Namespace,
    turn: int,
    figures: Figures,
) -> None:
    for kind in _in_turn(turn):
        engine = kind(model, sampled=False)
        for length, share in zip((FIRST_PROMPT_TOKENS, options.long_tokens), SHARED_SHARE, strict=True):
            shared = int(length * share)
            begin = engines.random_prompt(shared, vocabulary, 10 + turn)
            one, other = (engines.random_prompt(length - shared, vocabulary, n + turn) for n in (0, 50))
            unlike = engines.random_prompt(length, vocabulary, 100 + turn)
            engines.first_token_seconds(engine, unlike)  # warm up
            prompts = {"new": begin + one, "repeated": begin + one, "shared beginning": begin + other}
            for name, prompt in prompts.items():
                seconds = engines.first_token_seconds(engine, prompt)
                _note(figures, f"first token, {length:,} tokens, {name}, s", engine.name, seconds)
        engine.close()


def _gaps(
    model: Any,
    vocabulary: int,
    options: argparse.Namespace,
    turn: int,
    figures: Figures,
) -> None:
    long = options.long_tokens
    for kind in _in_turn(turn):
        engine = kind(model, sampled=False)
        found = engines.gap_in_steps(
            engine, rows=GAP_ROWS, long_tokens=long, vocabulary=vocabulary, seed=turn
        )
        engine.close()
        _note(figures, f"worst gap while {long:,} tokens are read, s", engine.name, found["worst"])
        _note(figures, "the same in usual steps", engine.name, found["steps"])
        _note(figures, f"first token of those {long:,}, s", engine.name, found["first"])


PHASES = {"rates": _rates, "sampled": _sampled_rates, "first": _first_tokens, "gap": _gaps}


def _in_turn(turn: int) -> tuple[Callable[..., Any], ...]:
    return KINDS if turn % 2 else KINDS[::-1]


def _note(figures: Figures, measure: str, engine: str, value: float) -> None:
    figures[measure][engine].append(value)
    print(f"{measure:60} {engine:10} {value:12.4f}", flush=True)


def print_table(figures: Figures) -> None:
    """Medians, and the medians of the ratios within the rounds."""
    print("\n| | bare step | ours | mlx-lm | ours / mlx-lm | ours / bare step |\n|---|---|---|---|---|---|")
    for measure, found in figures.items():
        cells = [_median(found.get(name)) for name in ("bare step", "ours", "mlx-lm")]
        ratios = [_ratio(found, "mlx-lm"), _ratio(found, "bare step")]
        print(f"| {measure} | {' | '.join(cells + ratios)} |")


def _median(values: list[float] | None) -> str:
    return f"{statistics.median(values):.4g}" if values else ""


def _ratio(found: dict[str, list[float]], other: str) -> str:
    if other not in found:
        return ""
    return f"{statistics.median(a / b for a, b in zip(found['ours'], found[other], strict=True)):.2f}"


def _device() -> str:
    info = mx.device_info()
    return str(info.get("device_name") or info.get("architecture") or platform.machine())
