"""Runs the load generator for one phase against one address and reads what it counted."""

from __future__ import annotations

import json
import socket
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bench.proxy import compiled
from bench.proxy.errors import BenchError
from bench.proxy.machine import on_cpu

if TYPE_CHECKING:
    from bench.proxy.phases import Phase

CHAT_PATH = "/v1/chat/completions"
GRACE_SECONDS = 10.0
START_SECONDS = 20.0
MILLISECONDS = 1000


@dataclass(frozen=True, slots=True)
class Spread:
    """A distribution, in microseconds."""

    p50: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What the generator saw. `seconds` runs from the first request to the last answer.

    `first_byte` is the time to the first byte of an answer's body, `lag` how long a chunk was on its way from
    the stub.
    """

    seconds: float
    answers: int
    chunks: int
    errors: int
    unfinished: int
    first_error: str
    generator_cpu_seconds: float
    latency: Spread
    first_byte: Spread
    lag: Spread


def run(url: str, phase: Phase, *, cpu: int | None) -> LoadResult:
    """Put the load of `phase` on the server at `url`. Raises BenchError when the generator cannot work."""
    length = phase.seconds + phase.ramp_seconds
    grace_seconds = GRACE_SECONDS if phase.once else GRACE_SECONDS / 2
    options = {
        "body": phase.body(),
        "connections": phase.connections,
        "seconds": length,
        "grace-ms": int(grace_seconds * MILLISECONDS),
        "ramp-ms": int(phase.ramp_seconds * MILLISECONDS),
        **({"each": 1} if phase.once else {}),
        **_address(url),
    }
    command = [str(compiled.program("load"))]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    limit = START_SECONDS + length + grace_seconds
    with on_cpu(cpu):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        output, complaint = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        raise BenchError(f"The load on {url} did not end within {limit:.0f} s.") from None
    finally:
        process.kill()
        process.wait()
    if process.returncode != 0:
        raise BenchError(f"The load generator failed against {url}: {complaint.strip()}")
    return _result(json.loads(output))


def _address(url: str) -> dict[str, str | int]:
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname is None:
        raise BenchError(f"{url} must be an http URL with a host: the generator speaks no TLS.")
    try:
        address = socket.gethostbyname(parts.hostname)
    except OSError as error:
        raise BenchError(f"The host of {url} is not known: {error}") from None
    return {
        "address": address,
        "host": parts.hostname,
        "port": parts.port or 80,
        "path": parts.path.rstrip("/") + CHAT_PATH,
    }


def _result(counted: dict[str, Any]) -> LoadResult:
    return LoadResult(
        seconds=counted["seconds"],
        answers=counted["answers"],
        chunks=counted["chunks"],
        errors=counted["errors"],
        unfinished=counted["unfinished"],
        first_error=counted["first_error"],
        generator_cpu_seconds=counted["cpu_seconds"],
        latency=_spread(counted["latency"]),
        first_byte=_spread(counted["first_byte"]),
        lag=_spread(counted["lag"]),
    )


def _spread(counted: dict[str, float]) -> Spread:
    return Spread(p50=counted["p50"], p99=counted["p99"], max=counted["max"])
