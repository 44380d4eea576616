"""What processes count adds up in the database: the same for all, over restarts, without it too."""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models import F

from ollaproject.wire import clock
from proxy.answer.usage import Tokens
from proxy.models import TrafficTotal, WebProcess
from proxy.records.counts import Counts, Histogram, ModelCounts, Spread, add
from proxy.records.meter import Meter
from proxy.records.record import Attempt
from proxy.records.shared_counts import Present, SharedCounts
from tests.proxy.conftest import target_for
from tests.proxy.outcomes import outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Table = Callable[..., None]

stored = pytest.mark.django_db(transaction=True)


class Process:
    """A web process's part in it, without the process."""

    def __init__(self, *, in_database: bool = True) -> None:
        self.meter = Meter()
        self.in_flight: dict[str, int] = {}
        self.sessions = 0
        self.shared = SharedCounts(
            self.meter.take, lambda: Present(self.in_flight, sessions=self.sessions), in_database=in_database
        )

    def served(self, **changes: object) -> None:
        """A request of 25 tokens, 5 of them cached, that was answered by 41 within two seconds."""
        fields: dict[str, Any] = {
            "endpoint": "mini-1",
            "attempts": (Attempt("mini-1", None),),
            "ttft": 0.3,
            "duration": 2.3,
            "tokens": Tokens(25, 41, 5),
            **changes,
        }
        self.meter.close(outcome(**fields))

    def read(self) -> Counts:
        self.shared.gather()
        return self.shared.read().counts


@pytest.fixture(autouse=True)
def _models(table: Table) -> None:
    table(target_for("http://127.0.0.1:9"))


@stored
def test_a_process_that_ends_hands_in_its_last_second() -> None:
    ending, other = Process(), Process()
    ending.shared.start()
    ending.served()

    ending.shared.stop()

    assert other.read().requests == 1


@stored
def test_two_processes_give_the_same_sums() -> None:
    one, other = Process(), Process()
    one.served()
    one.served(status=502, error_code="upstream_error")
    one.read()
    other.served(client_left=True)

    counts = other.read()

    assert counts == one.read()
    model = counts.models["m1"]
    assert (counts.requests, counts.disconnects, counts.errors) == (3, 1, {"upstream_error": 1})
    assert (model.requests, model.successes, model.failures) == (3, 1, 1)
    assert (model.prompt_tokens, model.completion_tokens, model.cached_tokens) == (75, 123, 15)
    assert model.operations["chat"].per_token.total == pytest.approx(3 * 2.0 / 40)


@stored
def test_a_process_that_comes_later_goes_on_from_there() -> None:
    before = Process()
    before.served()
    before.read()
    before.shared.start()
    before.shared.stop()

    after = Process()
    after.served()

    assert after.read().requests == 2
    assert WebProcess.objects.count() == 1


@stored
def test_what_is_under_way_counts_while_its_process_lives() -> None:
    one, other = Process(), Process()
    one.in_flight, other.in_flight = {"1": 2}, {"1": 1, "2": 4}
    one.sessions, other.sessions = 3, 2
    one.read()
    other.shared.gather()
    assert other.shared.read().in_flight == {"1": 3, "2": 4}
    assert other.shared.read().sessions == 5

    WebProcess.objects.filter(in_flight={"1": 2}).update(seen_at=clock.now() - timedelta(minutes=1))

    seen = other.shared.read()
    assert (seen.in_flight, seen.sessions, seen.processes) == ({"1": 1, "2": 4}, 2, 1)


@stored
def test_nothing_is_lost_while_the_database_is_away() -> None:
    process = Process()
    process.served()
    process.read()

    def refuse(*_: object) -> None:
        raise DatabaseError("gone")

    with connection.execute_wrapper(refuse):
        process.served()
        assert process.read().requests == 2
        process.served()
        assert process.read().requests == 3

    assert process.read().requests == 3
    assert Process().read().requests == 3


@stored
def test_a_process_that_nobody_has_asked_knows_what_all_have_counted() -> None:
    """From its own handing in, so that a database that goes away sets no counter back."""
    other, unasked = Process(), Process()
    other.served()
    other.read()
    unasked.served()
    unasked.shared.start()
    unasked.shared.stop()  # it has handed in once at least

    def refuse(*_: object) -> None:
        raise DatabaseError("gone")

    with connection.execute_wrapper(refuse):
        assert unasked.read().requests == 2


@stored
def test_a_process_that_knows_nothing_says_so() -> None:
    def refuse(*_: object) -> None:
        raise DatabaseError("gone")

    process = Process()
    process.served()
    with connection.execute_wrapper(refuse), pytest.raises(DatabaseError, match="gone"):
        process.read()
    assert process.read().requests == 1


@contextmanager
def beside(work: Callable[[], object], *, began: tuple[str, ...]) -> Iterator[None]:
    """In a thread with its own connection, once it sends a statement that begins like one of these."""
    sent = threading.Event()

    def note(execute: Callable[..., object], sql: str, *rest: object) -> object:
        if sql.startswith(began):
            sent.set()
        return execute(sql, *rest)

    def run() -> None:
        with connection.execute_wrapper(note):
            work()
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert sent.wait(10)
    yield
    thread.join()


@stored
def test_what_is_counted_is_put_by_without_waiting_for_the_database() -> None:
    """`gather` is called by the event loop, and the database may take its time."""
    process = Process()
    process.served()
    process.read()
    process.served()
    process.shared.gather()
    with ExitStack() as stack:
        with transaction.atomic():
            TrafficTotal.objects.update(counts=F("counts"))  # until this ends, nobody else hands in
            stack.enter_context(beside(process.shared.read, began=("BEGIN", "SELECT")))
            process.served()
            gathering = threading.Thread(target=process.shared.gather)
            gathering.start()
            gathering.join(5)
            waits = gathering.is_alive()
        gathering.join()

    assert not waits
    assert process.read().requests == 3


@stored
def test_two_processes_that_hand_in_first_at_once_lose_nothing() -> None:
    one, other = Process(), Process()
    one.served()
    other.served()
    one.shared.gather()
    with ExitStack() as stack, transaction.atomic():
        other.read()
        # It does not see what the other one has not committed, and would make the row as well.
        stack.enter_context(beside(one.shared.read, began=("BEGIN", "INSERT")))

    assert Process().read().requests == 2


def test_a_process_may_count_alone() -> None:
    process = Process(in_database=False)
    process.served()
    process.read()
    process.served()

    assert process.read().requests == 2


def test_a_name_that_nobody_serves_is_other() -> None:
    process = Process(in_database=False)
    for number in range(50):
        process.served(model=f"made-up-{number}")
    process.served(model="")

    assert set(process.read().models) == {"other"}


def test_callers_are_told_apart_and_not_kept() -> None:
    process = Process(in_database=False)
    for caller in ("10.0.0.1", "10.0.0.2", "10.0.0.1"):
        process.served(caller=caller)

    callers = process.read().models["m1"].callers
    assert len(callers) == 2
    assert not {"10.0.0.1", "10.0.0.2"} & callers


def test_counts_add_up_field_by_field() -> None:
    one, other = Counts(since=20.0), Counts(since=10.0)
    one.models["m1"] = ModelCounts(requests=1, callers={"a"}, last_at=5.0)
    other.models["m1"] = ModelCounts(requests=2, callers={"a", "b"}, last_at=3.0)
    other.errors["overloaded"] = 4
    other.overhead = Histogram([1, 0, 2], total=0.5)

    add(one, other)

    assert one.since == 10.0
    assert one.models["m1"] == ModelCounts(requests=3, callers={"a", "b"}, last_at=5.0)
    assert one.errors == {"overloaded": 4}
    assert one.overhead == Histogram([1, 0, 2], total=0.5)


def test_percentiles_are_within_their_steps() -> None:
    spread = Spread()
    for milliseconds in range(1, 1001):
        spread.observe(milliseconds / 1000)

    assert spread.quantile(0.5) == pytest.approx(0.5, rel=0.05)
    assert spread.quantile(0.99) == pytest.approx(0.99, rel=0.05)
    assert Spread().quantile(0.5) is None
