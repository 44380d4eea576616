"""Whether a URL of a Unix socket can work. One that is not there yet may be: its server may be down."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from django.core.exceptions import ValidationError

from ollaproject.wire.socket_urls import EXAMPLE, MAX_PATH_BYTES, SocketUrlError, read


def check_socket(url: str) -> None:
    """Raise ValidationError unless it names a socket by an absolute path that the system takes."""
    try:
        found = read(url)
    except SocketUrlError as error:
        raise ValidationError(str(error)) from None
    if found is None:
        raise ValidationError(
            f"A Unix socket is written like {EXAMPLE}: by its absolute path, without %, ? and #."
        )
    size = len(os.fsencode(found.path))
    if size > MAX_PATH_BYTES:
        raise ValidationError(
            f"The path of the socket has {size} bytes, and this system takes {MAX_PATH_BYTES}. Give it a "
            "shorter one, or go by a symbolic link to its folder."
        )
    if _is_something_else(found.path):
        raise ValidationError(f"{found.path} is no socket. Give the path at which the server listens.")


def _is_something_else(path: str) -> bool:
    try:
        return not stat.S_ISSOCK(Path(path).stat().st_mode)
    except OSError:
        return False  # not there yet, or in a folder that this process may not look into: checks will say so
