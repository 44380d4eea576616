"""The log of a model's server, read from its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TAIL_BYTES = 64 * 1024
TAIL_LINES = 200
KEPT_LINES = 30
COMMAND_ERROR = "CommandError: "


def tail(path: Path, *, lines: int = TAIL_LINES) -> str:
    """The last lines, empty when there is no log."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - TAIL_BYTES))
            text = log.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def last_words(text: str) -> str:
    """What the process said last: the sentence of its error, or its last line."""
    said = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix(COMMAND_ERROR) for line in said if line.startswith(COMMAND_ERROR)]
    return errors[-1] if errors else (said[-1] if said else "It said nothing.")
