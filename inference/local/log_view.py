"""A model's log as people read it: from this machine's disk, else the last lines that its machine keeps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

from inference.local import logs, record, site

if TYPE_CHECKING:
    from pathlib import Path

    from inference.local.site import Site
    from inference.models import LocalModelStatus

OVERLAP_LINES = 5
ELSEWHERE = _("These are its last lines. All of it is on {host}: logs/{file} in its OLLA_HOME.")


@dataclass(frozen=True, slots=True)
class ShownLog:
    """`note` says where the rest of it is, when this is not all that can be had."""

    text: str
    note: str = ""


def of(status: LocalModelStatus, *, lines: int = logs.TAIL_LINES) -> ShownLog:
    """The last lines of what its server or its download has written, whichever was last."""
    written = {path: at for path in _places(status) if (at := _written_at(path)) and _is_of(status, at)}
    if written:
        newest = max(written, key=lambda path: written[path])
        return ShownLog(logs.tail(newest, lines=lines))
    kept = "\n".join(status.log_tail.splitlines()[-lines:])
    if status.host and status.host != site.this_host():
        return ShownLog(kept, str(ELSEWHERE).format(host=status.host, file=site.log_of(status.pk).name))
    return ShownLog(kept)


def keep(status: LocalModelStatus, at: Site) -> None:
    """Have the last lines where the gateway finds them, when it may be on another machine."""
    if at.is_remote:
        record.note(status, log_tail=logs.tail(site.log_of(status.pk), lines=logs.KEPT_LINES))


def since(before: str, now: str) -> str:
    """The lines of `now` that come after those of `before`; all of them when it was begun anew."""
    seen = before.splitlines()[-OVERLAP_LINES:]
    lines = now.splitlines()
    for end in range(len(lines), len(seen) - 1, -1):
        if lines[end - len(seen) : end] == seen:
            return "\n".join(lines[end:])
    return now


def _places(status: LocalModelStatus) -> tuple[Path, Path]:
    return site.log_of(status.pk), site.fetch_log_of(status.pk)


def _written_at(path: Path) -> datetime | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return datetime.fromtimestamp(found.st_mtime, UTC) if found.st_size else None


def _is_of(status: LocalModelStatus, at: datetime) -> bool:
    """Whether a log of that age can be of its last start: an older one is from when it ran here before."""
    return status.host in ("", site.this_host()) or status.started_at is None or at >= status.started_at
