"""Fleets in simulated time: endpoints fail, slow, flap and return, requests come, and the rules hold.

The health rules, the routing table, the strategies and the plans are the real ones; only the network and the
clock are simulated. Everything that happens is drawn from a seed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

import pytest

from endpoints import history, rules
from endpoints.choices import ROUTABLE, Status
from endpoints.findings import ProbeResult
from endpoints.history import Flip, Kind
from endpoints.rules import FAILURES, HealthState, Pace, Thresholds
from endpoints.strategies import STRATEGIES
from ollaproject.wire.openai_errors import ApiError
from proxy.paths import surface_for
from proxy.plan import Plan
from proxy.routing import Question, Router
from tests.proxy.conftest import target_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from endpoints.selection import Candidate

    Table = Callable[..., None]

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SCHEDULES, PER_TEST = 2000, 100
ENDPOINTS, SECONDS, INTERVAL = 4, 120, 5.0
THRESHOLDS = Thresholds()
ANSWERS = {
    "well": ProbeResult(Status.HEALTHY, time_share=0.01),
    "slow": ProbeResult(Status.HEALTHY, time_share=0.9),
    "refuses": ProbeResult(Status.OFFLINE, "connection refused"),
    "fails": ProbeResult(Status.UNHEALTHY, "it answered 500"),
}
SERVES = frozenset({"well", "slow"})


@dataclass
class Machine:
    """An endpoint: how it really is, what the checks make of it, and when it is checked next."""

    number: int
    cap: int
    truth: str = "well"
    state: HealthState = field(default_factory=lambda: HealthState(Status.UNKNOWN, "", START))
    next_check: float = 0.0
    changed_at: float = 0.0
    flips: list[Flip] = field(default_factory=list)

    def check(self, now: float, jitter: float) -> bool:
        """Returns whether its status flips."""
        at = START + timedelta(seconds=now)
        old, result = self.state, ANSWERS[self.truth]
        self.state = rules.judge(old, result, at=at, thresholds=THRESHOLDS)
        if rules.goes_down(old, self.state) or old.flapping:
            begun = at - rules.FLAP_WINDOW
            falls = sum(flip.at > begun and flip.new in FAILURES for flip in self.flips)
            self.state = replace(
                self.state, flapping=rules.is_flapping(falls + rules.goes_down(old, self.state))
            )
        self.next_check = now + rules.next_check_in(self.state, Pace(INTERVAL), at=at, jitter=jitter)
        if self.state.status == old.status:
            return False
        self.flips.append(Flip(at, old.status, self.state.status, self.state.reason))
        return True


class Simulation:
    def __init__(self, seed: int, table: Table) -> None:
        self.draw = Random(seed)  # noqa: S311 - a schedule that can be run again
        self.table = table
        self.router = Router(STRATEGIES[self.draw.choice(list(STRATEGIES))]())
        self.machines = {
            number: Machine(number, self.draw.randint(1, 4)) for number in range(1, ENDPOINTS + 1)
        }
        self.running: list[tuple[float, Candidate]] = []
        self.served = self.refused = self.failed_with_a_sibling = 0

    def install(self) -> None:
        self.table(
            *(
                target_for(
                    "http://127.0.0.1:9",
                    number=each.number,
                    priority=85 + each.number % 2,
                    max_concurrent=each.cap,
                    status=each.state.status,
                )
                for each in self.machines.values()
            )
        )

    def run(self) -> None:
        for tick in range(SECONDS * 4):
            now = tick / 4
            if tick % 8 == 0 and self.draw.random() < 0.4:
                self.disturb(now)
            flipped = [
                each.check(now, self.draw.random())
                for each in self.machines.values()
                if now >= each.next_check
            ]
            if any(flipped) or tick == 0:
                self.install()
            self.end_answers(now)
            for _ in range(self.draw.randrange(3)):
                self.request(now)

    def disturb(self, now: float) -> None:
        machine = self.draw.choice(list(self.machines.values()))
        machine.truth, machine.changed_at = self.draw.choice(list(ANSWERS)), now

    def end_answers(self, now: float) -> None:
        for ends, candidate in [each for each in self.running if each[0] <= now]:
            candidate.load.in_flight -= 1
            candidate.load.ended_after(1.0)
            self.running.remove((ends, candidate))

    def request(self, now: float) -> None:
        surface = surface_for("vllm-mlx")
        assert surface is not None
        try:
            plan = Plan(self.router, Question(surface, "m1"))
        except ApiError:
            self.refused += 1
            assert not any(each.state.status in ROUTABLE for each in self.machines.values())
            return
        while (candidate := plan.choose()) is not None:
            machine = self.machines[candidate.target.id]
            assert machine.state.status in ROUTABLE, "a request went to an endpoint that is known to be dead"
            assert candidate.load.in_flight < machine.cap, "an endpoint got more than it takes"
            above = [each for each in self.machines.values() if self.is_better(each, machine, plan)]
            assert not above, "a lower tier served while a higher one had room"
            plan.tried(candidate)
            if machine.truth in SERVES:
                candidate.load.in_flight += 1
                candidate.load.answered_after(0.2)
                self.running.append((now + self.draw.uniform(0.2, 8), candidate))
                self.served += 1
                return
        # Nobody was left with room: then none that serves may have any.
        for each in plan.candidates():
            assert not each.has_room
        left = {each.target.id for each in plan.candidates()}
        self.failed_with_a_sibling += any(
            each.truth in SERVES and each.state.status in ROUTABLE and each.number not in left
            for each in self.machines.values()
            if self.router.loads.of(each.number).in_flight < each.cap
        )

    def is_better(self, other: Machine, chosen: Machine, plan: Plan) -> bool:
        open_to_it = {each.target.id for each in plan.candidates()}
        return (
            other.number % 2 > chosen.number % 2
            and other.number in open_to_it
            and other.state.status in ROUTABLE
            and self.router.loads.of(other.number).in_flight < other.cap
        )


def check_history(machine: Machine) -> None:
    """Its flips follow one another, and its incidents are the times in which it was down."""
    for before, after in zip(machine.flips, machine.flips[1:], strict=False):
        assert before.new == after.old
        assert before.at <= after.at
    found = history.incidents(machine.flips)
    assert sum(each.end is None for each in found) == (machine.state.status in FAILURES)
    edges = [(machine.flips[0].at, START + timedelta(seconds=SECONDS))] if machine.flips else []
    for start, end in edges:
        past = history.stretches(machine.flips, start=start, end=end)
        down = sum((each.end - each.start).total_seconds() for each in past if each.kind == Kind.DOWN)
        assert down == pytest.approx(sum(((each.end or end) - each.start).total_seconds() for each in found))


def check_truth(machine: Machine) -> None:
    """What has been so for long enough is known: two checks for a fall, a minute and four to return."""
    settled = SECONDS - machine.changed_at
    if machine.truth not in SERVES and settled > 2 * INTERVAL:
        assert machine.state.status in FAILURES
    if machine.truth in SERVES and settled > rules.SLOWEST_CHECK_SECONDS + 4 * INTERVAL:
        assert machine.state.status in ROUTABLE


@pytest.mark.parametrize("first", range(0, SCHEDULES, PER_TEST))
def test_whatever_happens_to_a_fleet_its_rules_hold(first: int, table: Table) -> None:
    served = 0
    for seed in range(first, first + PER_TEST):
        simulation = Simulation(seed, table)
        simulation.run()
        served += simulation.served
        assert simulation.failed_with_a_sibling == 0
        for machine in simulation.machines.values():
            check_history(machine)
            check_truth(machine)
        for number, machine in simulation.machines.items():
            under_way = sum(each.target.id == number for _, each in simulation.running)
            assert simulation.router.loads.of(number).in_flight == under_way <= machine.cap
    assert served > PER_TEST * 50
