"""The prompt cache's second tier: files that outlive the process, within a size, written by their own thread.

Imports mlx: loaded by the model process only. Everything but the writing runs on the engine thread. A file
holds what the model knows of the end of a sequence, from where other files know it on, and the sequence's
tokens from the beginning. Nothing here raises: what cannot be read or written is told once, and done without.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import queue
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from inference.cache import cache_folder, kv_file
from inference.cache.kv_file import BadFile, Contents, Head
from inference.cache.prompt_cache import shared_length

if TYPE_CHECKING:
    from pathlib import Path

    from inference.cache.kept_state import Span, State
    from inference.cache.prompt_cache import Tokens

logger = logging.getLogger(__name__)

SUFFIX = ".safetensors"
MOST_WAITING = 4
"""So many pieces may wait to be written. Meanwhile they take memory."""
END_SECONDS = 10.0
ABANDONED_SECONDS = 3600.0
"""A file that has been half written for so long belongs to a process that is no more."""


class Piece(NamedTuple):
    """A part of a sequence that can be had from a file: its tokens from `start` to `end`."""

    path: Path
    start: int
    end: int


class Fresh(NamedTuple):
    """Something to be written, when the device has computed it."""

    sequence: Tokens
    start: int
    span: Span
    state: State | None


class DiskCache:
    """Files in `folder`, at most `max_bytes` of them, the least recently used going first. OSError when the
    folder cannot be made.
    """

    def __init__(self, folder: Path, *, max_bytes: int, fingerprint: str) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._fingerprint = fingerprint
        self._heads: dict[Path, Head] = {}
        self._waiting: queue.Queue[tuple[Path, Contents] | None] = queue.Queue(MOST_WAITING)
        self._fresh: list[tuple[Path, Fresh]] = []  # perhaps not computed yet
        self._told_of = 0  # so many bytes could not be written, and the log has said so
        cache_folder.prepare(folder)
        self._look_around()
        self._writer = threading.Thread(target=self._write_all, name="disk-cache", daemon=True)
        self._writer.start()

    def __len__(self) -> int:
        return len(self._heads)

    def pieces_of(self, sequence: Tokens, *, known: int, whole: bool) -> list[Piece]:
        """What of `sequence` can be had beyond its first `known` tokens, in order, without a gap. `whole`:
        only to the ends of files, where a model's state is.
        """
        pieces: list[Piece] = []
        shared = {path: shared_length(head.tokens, sequence) for path, head in list(self._heads.items())}
        if whole:
            shared = {path: end for path, end in shared.items() if end == self._heads[path].end}
        while True:
            able = [path for path, end in shared.items() if self._heads[path].start <= known < end]
            if not able:
                return pieces
            best = max(able, key=shared.__getitem__)
            pieces.append(Piece(best, known, shared[best]))
            known = shared[best]

    def load(self, piece: Piece) -> tuple[Span, State | None] | None:
        """The piece, and the state at the end of its file; None when the file is no good."""
        head = self._heads[piece.path]
        try:
            span, state = kv_file.read(piece.path)
        except (BadFile, OSError, KeyError, ValueError) as error:
            self._forget(piece.path, f"{error}")
            return None
        with contextlib.suppress(OSError):  # it can be read all the same
            os.utime(piece.path)
        _, rest = span.split(piece.start - head.start)
        part, _ = rest.split(piece.end - piece.start)
        return part, state if piece.end == head.end else None

    def covers(self, sequence: Tokens, *, whole: bool) -> int:
        """How many of the first tokens of `sequence` are in files."""
        pieces = self.pieces_of(sequence, known=0, whole=whole)
        return pieces[-1].end if pieces else 0

    def keep(self, sequence: Tokens, start: int, span: Span, state: State | None) -> None:
        """Have what is known of `sequence` from `start` on written."""
        path = self._folder / (self._name_of(sequence) + SUFFIX)
        self._fresh.append((path, Fresh(sequence, start, span, state)))

    @property
    def has_fresh(self) -> bool:
        return bool(self._fresh)

    def flush(self) -> None:
        """Hand over to the writer what has been computed since it came. When too much waits, it is dropped:
        a disk that cannot keep up gets no more.
        """
        fresh, self._fresh = self._fresh, []
        for path, (sequence, start, span, state) in fresh:
            contents = kv_file.contents_of(sequence, start, span, state)
            if contents.nbytes > self._max_bytes:
                continue  # it would push out everything else, and then itself
            try:
                self._waiting.put_nowait((path, contents))
            except queue.Full:
                return
            self._heads[path] = Head(sequence, start, self._fingerprint, contents.nbytes)

    def close(self) -> None:
        """Write what waits, for a while."""
        self.flush()
        with contextlib.suppress(queue.Full):
            self._waiting.put(None, timeout=END_SECONDS)
            self._writer.join(END_SECONDS)

    def _name_of(self, sequence: Tokens) -> str:
        return hashlib.sha256(self._fingerprint.encode() + sequence.tobytes()).hexdigest()[:32]

    def _look_around(self) -> None:
        """What an earlier process has left."""
        long_ago = time.time() - ABANDONED_SECONDS
        for partial in self._folder.glob("*.part"):
            with contextlib.suppress(OSError):  # another process may be faster
                if partial.stat().st_mtime < long_ago:
                    partial.unlink()
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            try:
                head = kv_file.read_head(path)
            except (BadFile, OSError, KeyError, ValueError) as error:
                self._forget(path, f"{error}")
                continue
            if head.fingerprint == self._fingerprint:
                self._heads[path] = head

    def _forget(self, path: Path, reason: str) -> None:
        self._heads.pop(path, None)
        removed = ", and removed"
        try:
            path.unlink(missing_ok=True)
        except OSError:  # such as on a disk that has become read-only
            removed = ""
        logger.warning("%s is left out of the prompt cache%s: %s.", path, removed, reason)

    # --- On the writer's thread ---

    def _write_all(self) -> None:
        while (item := self._waiting.get()) is not None:
            path, contents = item
            try:
                kv_file.write(path, contents, self._fingerprint)
                self._keep_within_size()
                if contents.nbytes >= self._told_of:  # a full disk may still have room for less
                    self._told_of = 0
            except OSError as error:
                self._heads.pop(path, None)
                if not self._told_of:
                    self._told_of = contents.nbytes
                    logger.warning(
                        "The prompt cache cannot be written to %s: %s. It goes on in memory only.",
                        self._folder,
                        error.strerror or error,
                    )

    def _keep_within_size(self) -> None:
        files = []
        for path in self._folder.glob(f"*{SUFFIX}"):
            try:
                status = path.stat()
            except FileNotFoundError:  # another process shares the folder
                continue
            files.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= self._max_bytes:
                return
            self._heads.pop(path, None)
            path.unlink(missing_ok=True)
            total -= size
