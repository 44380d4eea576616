"""Fleets in simulated time: endpoints fail, slow, flap and return, requests come, and the rules hold.

The health rules, the routing table, the strategies and the plans are the real ones; only the network and the
clock are simulated. Everything that happens is drawn from a seed; `--seeds 400` plays two thousand fleets.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random
from typing import TYPE_CHECKING

import msgspec
import pytest

from endpoints.choices import ROUTABLE, Status
from endpoints.health import rules
from endpoints.health.findings import ProbeResult
from endpoints.health.rules import FAILURES, HealthState, Pace, Thresholds
from endpoints.past import history
from endpoints.past.history import Flip, Kind
from endpoints.routing.strategies import STRATEGIES
from ollaproject.wire.openai_errors import ApiError
from proxy.request.paths import surface_for
from proxy.request.prefix import Prompt
from proxy.routing.plan import Plan
from proxy.routing.routing import Question, Router
from tests.proxy.conftest import target_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from endpoints.routing.selection import Candidate
    from endpoints.routing.snapshot import Target

    Table = Callable[..., None]

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
FLEETS_PER_SEED = 5
ENDPOINTS, SECONDS, INTERVAL = 4, 120, 5.0
TICKS_PER_SECOND = 2
DISTURBED_EVERY_TICKS, DISTURBED_CHANCE = 4, 0.4
LONGEST_ANSWER_SECONDS = 16.0
CHATS = 12
FAIR_REQUESTS = 2000
THRESHOLDS = Thresholds()
SURFACE = next(surface for surface in [surface_for("vllm-mlx")] if surface is not None)
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


def prompt(number: int) -> Prompt:
    return Prompt(prompt=msgspec.Raw(f'"What was said in chat {number}?"'.encode()))


PROMPTS = [prompt(number) for number in range(CHATS)]


@cache
def table_entry(number: int, cap: int, status: Status) -> Target:
    url, priority = "http://127.0.0.1:9", 85 + number % 2
    return target_for(url, number=number, priority=priority, max_concurrent=cap, status=status)


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
            *(table_entry(each.number, each.cap, each.state.status) for each in self.machines.values())
        )

    def run(self) -> None:
        for tick in range(SECONDS * TICKS_PER_SECOND):
            now = tick / TICKS_PER_SECOND
            if tick % DISTURBED_EVERY_TICKS == 0 and self.draw.random() < DISTURBED_CHANCE:
                self.disturb(now)
            flipped = [
                each.check(now, self.draw.random())
                for each in self.machines.values()
                if now >= each.next_check
            ]
            if any(flipped) or tick == 0:
                self.install()
            self.end_answers(now)
            if self.draw.random() < 0.6:
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
        try:
            plan = Plan(self.router, Question(SURFACE, "m1"), self.draw.choice(PROMPTS))
        except ApiError:
            self.refused += 1
            assert not any(each.state.status in ROUTABLE for each in self.machines.values())
            return
        while (candidate := plan.choose()) is not None:
            machine = self.machines[candidate.target.id]
            assert machine.state.status in ROUTABLE, "a request went to an endpoint that is known to be dead"
            assert candidate.load.in_flight < machine.cap, "an endpoint got more than it takes"
            assert not self.room_above(machine, plan), "a lower tier served while a higher one had room"
            plan.tried(candidate)
            if machine.truth in SERVES:
                candidate.load.in_flight += 1
                candidate.load.answered_after(0.2)
                self.running.append((now + self.draw.uniform(0.2, LONGEST_ANSWER_SECONDS), candidate))
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

    def room_above(self, chosen: Machine, plan: Plan) -> bool:
        """Whether one of a higher tier that this plan has not tried could have taken it."""
        if chosen.number % 2:
            return False
        open_to_it = {each.target.id for each in plan.candidates()}
        above = (each for each in self.machines.values() if each.number % 2 and each.number in open_to_it)
        return any(
            each.state.status in ROUTABLE and self.router.loads.of(each.number).in_flight < each.cap
            for each in above
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


def test_whatever_happens_to_a_fleet_its_rules_hold(schedule_seed: int, table: Table) -> None:
    served = 0
    for fleet in range(FLEETS_PER_SEED):
        simulation = Simulation(schedule_seed * FLEETS_PER_SEED + fleet, table)
        simulation.run()
        served += simulation.served
        assert simulation.failed_with_a_sibling == 0
        for machine in simulation.machines.values():
            check_history(machine)
            check_truth(machine)
        for number, machine in simulation.machines.items():
            under_way = sum(each.target.id == number for _, each in simulation.running)
            assert simulation.router.loads.of(number).in_flight == under_way <= machine.cap
    assert served > FLEETS_PER_SEED * 30


@pytest.mark.parametrize("name", STRATEGIES)
def test_endpoints_get_what_their_weights_say_within_a_tenth(name: str, table: Table) -> None:
    weights = (1, 1, 2, 4) if name == "priority" else (1, 1, 1, 1)
    table(
        *(
            target_for("http://127.0.0.1:9", number=number, weight=weight, max_concurrent=50)
            for number, weight in enumerate(weights)
        )
    )
    router, draw = Router(STRATEGIES[name]()), Random(7)  # noqa: S311
    running: list[tuple[float, Candidate]] = []
    served: Counter[int] = Counter()
    for now in range(FAIR_REQUESTS):
        for each in [each for each in running if each[0] <= now]:
            each[1].load.in_flight -= 1
            running.remove(each)
        candidate = Plan(router, Question(SURFACE, "m1"), prompt(now)).choose()
        assert candidate is not None
        served[candidate.target.id] += 1
        candidate.load.in_flight += 1
        candidate.load.answered_after(draw.uniform(0.1, 0.2))
        running.append((now + draw.uniform(1, 40), candidate))
    for number, weight in enumerate(weights):
        assert served[number] == pytest.approx(FAIR_REQUESTS * weight / sum(weights), rel=0.1)
