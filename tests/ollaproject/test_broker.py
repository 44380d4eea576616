"""The broker of files, used by several processes at once as beat, web and worker do."""

from __future__ import annotations

import multiprocessing
import time
from typing import TYPE_CHECKING, Any

import pytest
from celery.worker import state
from kombu import Connection, Exchange, Queue

if TYPE_CHECKING:
    from pathlib import Path

SENDERS = 4
MESSAGES_EACH = 150
GET_SECONDS = 60


def connection(folder: Path) -> Connection:
    options = {name: str(folder / name) for name in ("control_folder", "processed_folder")}
    options |= {"data_folder_in": str(folder / "queue"), "data_folder_out": str(folder / "queue")}
    return Connection(
        "filesystem://localhost",
        transport="ollaproject.broker:Transport",
        transport_options={**options, "polling_interval": 0.01},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("queue", "control_folder", "processed_folder"):
        (tmp_path / name).mkdir()
    return tmp_path


def send(folder: Path, sender: int, start: Any) -> None:
    start.wait()
    with connection(folder) as broker:
        queue = broker.SimpleQueue("work")
        for number in range(MESSAGES_EACH):
            queue.put([sender, number])
        queue.close()


def bind(folder: Path, name: str, start: Any) -> None:
    start.wait()
    with connection(folder) as broker:
        Queue(name, Exchange("shared", type="direct"), routing_key=name)(broker.default_channel).declare()


def run_together(target: Any, arguments: list[tuple[Any, ...]]) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(len(arguments))
    processes = [context.Process(target=target, args=(*own, start)) for own in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(processes)


def test_every_message_arrives_once_and_whole_while_others_write(folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(SENDERS + 1)
    senders = [context.Process(target=send, args=(folder, sender, start)) for sender in range(SENDERS)]
    for process in senders:
        process.start()
    received: list[tuple[int, int]] = []

    with connection(folder) as broker:
        queue = broker.SimpleQueue("work")
        start.wait()
        while len(received) < SENDERS * MESSAGES_EACH:
            message = queue.get(timeout=GET_SECONDS)
            received.append(tuple(message.payload))
            message.ack()
        queue.close()

    for process in senders:
        process.join()
    assert sorted(received) == [(s, n) for s in range(SENDERS) for n in range(MESSAGES_EACH)]
    # What one sender sent arrives in its order.
    for sender in range(SENDERS):
        assert [n for s, n in received if s == sender] == list(range(MESSAGES_EACH))


def test_no_binding_is_lost_when_processes_bind_at_once(folder: Path) -> None:
    names = [f"queue-{number}" for number in range(6)]

    run_together(bind, [(folder, name) for name in names])

    with connection(folder) as broker:
        table = broker.default_channel.get_table("shared")  # type: ignore[attr-defined]
    assert sorted(binding.queue for binding in table) == names


def test_a_worker_that_is_told_to_stop_waits_for_nothing_more(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[object] = []
    # A queue of its own: kombu takes one that another test has bound for bound in this folder, too.
    with connection(folder) as broker, broker.SimpleQueue("stopping") as queue:
        queue.consumer.register_callback(lambda body, _message: heard.append(body))
        queue.consumer.consume()
        with pytest.raises(TimeoutError):
            broker.drain_events(timeout=0.1)
        queue.put("last")
        monkeypatch.setattr(state, "should_stop", 0)  # as Celery does when a signal comes
        began = time.monotonic()

        broker.drain_events(timeout=GET_SECONDS)
        with pytest.raises(TimeoutError):
            broker.drain_events(timeout=GET_SECONDS)

        assert heard == ["last"]
        assert time.monotonic() - began < GET_SECONDS / 2
