"""Ports for what a measurement or a test starts."""

from __future__ import annotations

import socket


def free_port() -> int:
    """One that nobody listens on, on loopback, at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
