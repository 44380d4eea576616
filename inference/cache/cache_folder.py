"""The folder in which the prompt cache is kept over a restart."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from inference.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

PRIVATE = 0o700
"""Prompts can be read out of its files."""


def prepare(folder: Path) -> None:
    """Make it if it is not there. Raises ModelError with a sentence if nothing can be kept in it."""
    try:
        folder.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise unusable(folder, error) from error


def unusable(folder: Path, error: OSError) -> ModelError:
    return ModelError(
        f"The prompt cache cannot be kept in {folder}: {error.strerror}. Give another --disk-cache-dir."
    )
