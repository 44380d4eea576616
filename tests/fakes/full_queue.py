"""A server at a Unix socket that is too busy to accept anybody."""

from __future__ import annotations

import socket
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="others refuse what they cannot queue")


@contextmanager
def full_queue(path: Path) -> Iterator[socket.socket]:
    """A server at `path` that has one connection to accept, and no room for another."""
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(path))
        busy.listen(0)
        waiting.connect(str(path))
        yield busy
