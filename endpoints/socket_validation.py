"""Whether a URL of a Unix socket can work. One that is not there yet may be: its server may be down."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from django.core.exceptions import ValidationError
from django.utils.translation import gettext

from ollaproject.wire.socket_urls import EXAMPLE, MAX_PATH_BYTES, SocketUrlError, read


def check_socket(url: str) -> None:
    """Raise ValidationError unless it names a socket by an absolute path that the system takes."""
    try:
        found = read(url)
    except SocketUrlError as error:
        raise ValidationError(str(error)) from None
    if found is None:
        raise ValidationError(
            gettext(
                "A Unix socket is written like {example}: by its absolute path, without %, ? and #."
            ).format(example=EXAMPLE)
        )
    size = len(os.fsencode(found.path))
    if size > MAX_PATH_BYTES:
        raise ValidationError(
            gettext(
                "The path of the socket has {size} bytes, and this system takes {most}. Give it a shorter "
                "one, or go by a symbolic link to its folder."
            ).format(size=size, most=MAX_PATH_BYTES)
        )
    if _is_something_else(found.path):
        words = gettext("{path} is no socket. Give the path at which the server listens.")
        raise ValidationError(words.format(path=found.path))


def _is_something_else(path: str) -> bool:
    try:
        return not stat.S_ISSOCK(Path(path).stat().st_mode)
    except OSError:
        return False  # not there yet, or in a folder that this process may not look into: checks will say so
