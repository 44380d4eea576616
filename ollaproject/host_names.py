"""The names by which this machine goes on its network.

On macOS what gethostname says is up to the network: DHCP or reverse DNS may call a Mac otherwise than its
owner does, and otherwise tomorrow. What it is called in the system settings, Bonjour announces as NAME.local,
and that is how people reach it.
"""

from __future__ import annotations

import socket
import subprocess
from functools import cache
from pathlib import Path

SCUTIL = Path("/usr/sbin/scutil")  # macOS has it
SCUTIL_SECONDS = 5
BONJOUR = ".local"


@cache
def names() -> tuple[str, ...]:
    """All of them, in lower case; the first is what it is called among other machines."""
    return names_of(socket.gethostname(), _name_for_bonjour())


def names_of(system: str, given: str) -> tuple[str, ...]:
    """For a machine whose `system` calls it so, and that a person has `given` a name, or not."""
    system = system.lower().removesuffix(BONJOUR)
    known = dict.fromkeys(filter(None, (given.lower(), system, system.partition(".")[0])))
    return tuple(name for each in known for name in (each, each + BONJOUR))


def _name_for_bonjour() -> str:
    """Empty where there is none."""
    if not SCUTIL.exists():
        return ""
    command = [str(SCUTIL), "--get", "LocalHostName"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SCUTIL_SECONDS)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
