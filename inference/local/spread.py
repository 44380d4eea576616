"""Starts a model on several machines together with MLX's own launcher: `python -m inference.local.spread`.

This is the process that the supervisor knows: it says who it is, ends when nobody supervises it, and tells
all the others to stop. The first machine is this one and gets its secrets through the environment, so that no
command line shows them; the others are reached over ssh, with this program and the model at the same places.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import psutil

from inference.local import run
from inference.local.site import LOOPBACK
from ollaproject.parent import PARENT_PID_VARIABLE

LAUNCHER = "mlx.launch"
STANDARD_INPUT = 0


def hostfile(machines: list[str], *, given: str = "") -> Any:
    """The machines as mlx.launch reads them: those of the file `given`, or `machines`. The first is this one.

    Raises OSError for an address that nobody knows and a file that cannot be read, ValueError for one that is
    no host file.
    """
    if given:
        known = json.loads(Path(given).read_text())
        hosts = known["hosts"] if isinstance(known, dict) else known
    else:
        known = hosts = [{"ssh": name, "ips": [socket.gethostbyname(_host(name))]} for name in machines]
    hosts[0]["ssh"] = LOOPBACK  # what mlx.launch starts without ssh
    return known


def _host(name: str) -> str:
    """`user@mini-2` is how ssh is told who somebody is there."""
    return name.rpartition("@")[2]


def main() -> None:
    run.announce()
    run.end_with_supervisor()
    options, command = _options()
    for name in (run.FILE_VARIABLE, run.LOCK_VARIABLE):
        os.environ.pop(name, None)
    os.environ[PARENT_PID_VARIABLE] = str(os.getpid())
    stopping = _stop_all_on_signal()
    _keep_standard_input_open()
    try:
        hosts = hostfile(options.machines.split(","), given=options.hostfile)
    except (OSError, ValueError, LookupError, TypeError) as error:
        sys.exit(f"CommandError: The machines cannot be found: {error}.")
    file = Path(options.file)
    file.write_text(json.dumps(hosts))
    sys.argv = [LAUNCHER, "--hostfile", str(file), "--backend", options.backend]
    sys.argv += ["--starting-port", str(options.starting_port), "--", *command]
    (launcher,) = entry_points(group="console_scripts", name=LAUNCHER)
    launcher.load()()
    sys.exit(0 if stopping else 1)  # the launcher does not say how its processes ended


def _options() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser()
    for name in ("--machines", "--backend", "--file"):
        parser.add_argument(name, required=True)
    parser.add_argument("--hostfile", default="")
    parser.add_argument("--starting-port", type=int, required=True)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    return options, options.command[1:]


def _stop_all_on_signal() -> list[int]:
    """What is given back is not empty once they were told to."""
    told: list[int] = []

    def stop(number: int, _: object) -> None:
        told.append(number)
        for child in psutil.Process().children():
            child.terminate()

    signal.signal(signal.SIGTERM, stop)
    return told


def _keep_standard_input_open() -> None:
    """The launcher passes on what it reads there, without end when there is nothing to read."""
    reading, _ = os.pipe()
    os.dup2(reading, STANDARD_INPUT)


if __name__ == "__main__":
    main()
