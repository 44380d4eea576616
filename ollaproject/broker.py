"""Celery's broker when there is no Redis: files in a folder, each written whole before anybody can see it.

kombu's own filesystem transport creates a file and then fills it: a worker that looks in between reads
nothing and dies of it, and two processes that bind a queue at once lose one binding. Here both are renamed
into place. And a worker that is told to stop waits for messages no longer: Celery looks whether it is told
only between waits of two seconds, and then waits once more.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celery.worker import state
from kombu.transport import filesystem
from kombu.utils.json import dumps

if TYPE_CHECKING:
    from collections.abc import Iterator


class Channel(filesystem.Channel):
    # The stubs of kombu disagree with themselves on what these are called.
    def _put(self, queue: str, payload: dict[str, Any], **_kwargs: Any) -> None:  # type: ignore[override]
        # Names sort by time, so that messages are taken in the order in which they came.
        name = f"{time.time_ns():020d}_{uuid.uuid4()}.{queue}.msg"
        _write_whole(Path(self.data_folder_out) / name, dumps(payload))

    def _queue_bind(
        self, exchange: str, routing_key: str | None, pattern: str | None, queue: str | None
    ) -> None:
        binding = filesystem.exchange_queue_t(routing_key or "", pattern or "", queue or "")
        with self._only_one_at_a_time():
            table = self.get_table(exchange)
            if binding not in table:
                path = Path(self.control_folder) / f"{exchange}.exchange"
                _write_whole(path, json.dumps([binding, *table]))

    @contextlib.contextmanager
    def _only_one_at_a_time(self) -> Iterator[None]:
        folder = Path(self.control_folder)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


class Transport(filesystem.Transport):
    Channel = Channel

    def drain_events(  # type: ignore[override]  # the stubs leave out what kombu gives
        self, connection: Any, timeout: float | None = None
    ) -> None:
        """Deliver a message, also one that is there when the worker is told to stop. Raises TimeoutError."""
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        while True:
            try:
                super().drain_events(connection, timeout=0)
            except TimeoutError:
                if state.should_stop is not None or time.monotonic() >= deadline:
                    raise
                time.sleep(self.polling_interval or 0)
            else:
                return


def _write_whole(path: Path, text: str) -> None:
    # A leading dot: no queue's name matches it while it is being written.
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text)
    draft.replace(path)
