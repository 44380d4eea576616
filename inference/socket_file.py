"""A Unix socket for the model server to listen at: who may open its file, which goes with the server."""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FULL_MODE = 0o777


@contextmanager
def listening_at(path: Path, *, mode: int, backlog: int) -> Iterator[socket.socket]:
    """A socket that listens at `path`, whose file has the permissions `mode` from its first moment.

    What a server has left there that died is replaced. Raises OSError where another one listens, or a file
    of another kind lies. To be entered while the process has one thread: its umask is changed for a moment.
    """
    _remove_left_over(path)
    with socket.socket(socket.AF_UNIX) as listener:
        before = os.umask(FULL_MODE & ~mode)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        ours = path.lstat().st_ino
        try:
            listener.listen(backlog)
            yield listener
        finally:
            if path.exists() and path.lstat().st_ino == ours:
                path.unlink()


def _remove_left_over(path: Path) -> None:
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise FileExistsError(errno.EEXIST, "a file that is no socket lies there")
    with socket.socket(socket.AF_UNIX) as trial:
        trial.settimeout(0)
        try:
            trial.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass  # its queue is full: it listens
    raise OSError(errno.EADDRINUSE, "another server listens there")
