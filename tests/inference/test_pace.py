"""Sizing chunks: what is read between two steps takes no longer than a step."""

from __future__ import annotations

import random
from itertools import product
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.pace import ON_CPU, ON_CUDA, SMALLEST_CHUNK_TOKENS, Pace

MOST = 512
ROUNDING = 0.8  # sizes are rounded down, to four in each doubling


class Machine:
    """A model whose steps take `step` seconds, and reading `start` and `token`. New sizes are `compiled`."""

    def __init__(
        self, *, step: float, token: float, start: float = 0.0, compiled: float = 0.0, noise: float = 0.0
    ) -> None:
        self.pace = Pace(ON_CPU.up_to(MOST))
        self.step, self.token, self.start, self.compiled, self.noise = step, token, start, compiled, noise
        self._chance = random.Random(1)  # noqa: S311 -- noise
        self._known_sizes: set[int] = set()

    def decode(self) -> None:
        self.pace.note(self._noisy(self.step), decoding=True, read_tokens=0)

    def read_while_decoding(self, tokens: int) -> list[int]:
        """The sizes of the chunks in which so many tokens are read."""
        sizes = []
        while tokens > 0:
            size = min(self.pace.chunk_tokens(running=1), tokens)
            seconds = self._noisy(self.step) + self._noisy(self.start + self.token * size)
            if size not in self._known_sizes:
                seconds += self.compiled
            self._known_sizes.add(size)
            self.pace.note(seconds, decoding=True, read_tokens=size)
            sizes.append(size)
            tokens -= size
        return sizes

    def _noisy(self, seconds: float) -> float:
        return seconds * (1 + self._chance.uniform(-self.noise, self.noise))


def test_it_reads_as_much_as_a_step_takes() -> None:
    machine = Machine(step=0.1, token=0.001)
    machine.decode()
    sizes = machine.read_while_decoding(4000)
    assert 100 * ROUNDING <= max(sizes[2:]) <= 100
    assert sum(size < 100 * ROUNDING for size in sizes[5:-1]) <= len(sizes) / 16  # to see what a start costs


def test_it_does_so_where_measurements_are_noisy() -> None:
    machine = Machine(step=0.4, token=0.005, start=0.02, noise=0.2)
    machine.decode()
    sizes = machine.read_while_decoding(8000)[5:-1]
    assert 0.5 * 64 < sum(sizes) / len(sizes) < 1.3 * 64


def test_a_start_that_takes_longer_than_a_step_makes_chunks_large_and_not_small() -> None:
    machine = Machine(step=0.02, token=0.00004, start=0.025, compiled=0.2)
    machine.decode()
    sizes = machine.read_while_decoding(4000)
    assert len(sizes) < 25
    assert 312 * ROUNDING <= max(sizes) <= MOST


def test_one_slow_chunk_says_nothing_of_the_next() -> None:
    machine = Machine(step=0.1, token=0.001)
    machine.decode()
    before = max(machine.read_while_decoding(4000)[2:])
    machine.pace.note(5.0, decoding=True, read_tokens=before)
    assert max(machine.read_while_decoding(200)) == before


def test_it_reads_much_when_nobody_waits() -> None:
    machine = Machine(step=0.1, token=0.001)
    machine.decode()
    machine.read_while_decoding(1000)
    assert machine.pace.chunk_tokens(running=0) == 2 * MOST


def test_short_prompts_that_come_together_are_read_together_when_nobody_waits() -> None:
    pace = Pace(ON_CPU.up_to(64))
    assert pace.chunk_tokens(running=0, unread=[40] * 8) == 320
    assert pace.chunk_tokens(running=0, unread=[40] * 30) == 1000
    assert pace.chunk_tokens(running=0, unread=[4000, 20]) == 128


def test_short_prompts_that_outnumber_the_running_rows_are_read_at_once() -> None:
    machine = Machine(step=0.1, token=0.001)
    machine.decode()
    machine.read_while_decoding(1000)
    usual = machine.pace.chunk_tokens(running=1)
    assert machine.pace.chunk_tokens(running=1, unread=[40] * 7) == 280
    assert 4 * usual - 40 < machine.pace.chunk_tokens(running=1, unread=[40] * 30) <= 4 * usual
    assert machine.pace.chunk_tokens(running=8, unread=[40] * 7) == usual
    assert machine.pace.chunk_tokens(running=1, unread=[4000] * 9) == usual  # long ones, however many


def test_it_begins_with_little() -> None:
    assert Pace(ON_CPU.up_to(MOST)).chunk_tokens(running=1) == 64
    assert Pace(ON_CPU.up_to(32)).chunk_tokens(running=1) == 32


def test_it_learns_the_cost_of_reading_when_nothing_else_runs() -> None:
    pace = Pace(ON_CPU.up_to(MOST))
    pace.note(0.05, decoding=True, read_tokens=0)
    pace.note(1.0, decoding=False, read_tokens=1000)
    assert 50 * ROUNDING <= pace.chunk_tokens(running=1) <= 50


def test_it_doubles_at_the_most() -> None:
    machine = Machine(step=0.1, token=0.00001)
    machine.decode()
    sizes = machine.read_while_decoding(4000)
    for number, size in enumerate(sizes):
        assert size <= 2 * max([64, *sizes[:number]])
    assert max(sizes) == MOST


def test_it_follows_as_steps_become_slower() -> None:
    machine = Machine(step=0.05, token=0.001)
    machine.decode()
    machine.read_while_decoding(1000)
    machine.step = 0.2
    for _ in range(20):
        machine.decode()
    assert 200 * ROUNDING <= machine.read_while_decoding(2000)[-2] <= 200


@pytest.mark.parametrize("most", [16, 64, MOST])
@given(
    steps=st.lists(st.tuples(st.floats(0, 100), st.booleans(), st.integers(0, 5000)), max_size=30),
)
def test_it_stays_within_its_bounds_whatever_was_measured(
    most: int, steps: list[tuple[float, bool, int]]
) -> None:
    pace = Pace(ON_CPU.up_to(most))
    for seconds, decoding, tokens in steps:
        pace.note(seconds, decoding=decoding, read_tokens=tokens)
        assert SMALLEST_CHUNK_TOKENS <= pace.chunk_tokens(running=1) <= most


def test_a_chunk_beside_rows_takes_less_than_a_step_however_much_was_read_before() -> None:
    """What lies further back costs more, so sizes shrink as costs grow: that must not look like a start."""
    step, token, growth = 0.1, 0.003, 0.000004
    pace, place = Pace(ON_CPU.up_to(MOST)), 0
    pace.note(0.25, decoding=False, read_tokens=40)
    pace.note(step, decoding=True, read_tokens=0)
    while place < 4000:
        size = pace.chunk_tokens(running=4, beside=True)
        seconds = size * (token + growth * place)
        assert seconds <= step
        pace.note(step + seconds, decoding=True, read_tokens=size, beside=True)
        place += size


def test_a_chunk_beside_rows_may_be_smaller_than_one_that_is_read_apart() -> None:
    machine = Machine(step=0.1, token=0.01)
    machine.decode()
    for tokens in (10, 10, 4):
        machine.pace.note(0.1 + 0.01 * tokens, decoding=True, read_tokens=tokens, beside=True)
    assert ON_CPU.least <= machine.pace.chunk_tokens(running=1, beside=True) < SMALLEST_CHUNK_TOKENS


def test_chunks_of_one_size_only_are_followed_by_one_of_another() -> None:
    """Otherwise nobody would find out that large ones are as fast as small ones."""
    machine = Machine(step=0.1, token=0.01)
    machine.decode()
    for _ in range(16):
        machine.pace.note(0.16, decoding=True, read_tokens=8, beside=True)
    assert machine.pace.chunk_tokens(running=1, beside=True) == 1
    for _ in range(16):
        machine.pace.note(0.3, decoding=True, read_tokens=20)
    assert machine.pace.chunk_tokens(running=1) == 32


def test_where_a_chunk_costs_the_same_whatever_its_size_few_are_read() -> None:
    """As on a fast GPU, where a processor names every kernel and the card has hardly anything to do."""
    machine = Machine(step=0.0095, start=0.0085, token=0.000005, compiled=0.01, noise=0.2)
    machine.decode()
    for _ in range(3):
        machine.read_while_decoding(4000)
    assert len(machine.read_while_decoding(4000)) <= 25


def test_where_each_size_is_prepared_anew_few_are_met() -> None:
    """Rows and chunk together: that is what a matrix of weights is multiplied with."""
    pace = Pace(ON_CUDA)
    pace.note(0.01, decoding=True, read_tokens=0)
    sizes = set()
    for running, microseconds in product(range(1, 9), (1, 20, 50, 100, 300)):
        for tokens in (32, 200):
            pace.note(0.01 + microseconds * 1e-6 * tokens, decoding=True, read_tokens=tokens, beside=True)
        if tokens := pace.chunk_tokens(running=running, beside=True):
            sizes.add(running + tokens)
    assert len(sizes) > 1
    assert sizes <= {32, 64, 128, 256, 512, 1024}


def test_few_sizes_are_no_obstacle_to_growth() -> None:
    chance = random.Random(3)  # noqa: S311 -- noise
    pace, place, sizes = Pace(ON_CUDA), 0, []

    def note(tokens: int) -> None:
        seconds = 0.019 + 0.000002 * tokens + chance.uniform(0, 0.002)
        pace.note(seconds, decoding=True, read_tokens=tokens, beside=True)

    for _ in range(20):
        pace.note(0.01, decoding=True, read_tokens=0)
    for tokens in (28, 60, 124, 252, 504, 28):  # as in a rehearsal
        note(tokens)
    while place < 8000:
        sizes.append(pace.chunk_tokens(running=8, beside=True))
        note(sizes[-1])
        place += sizes[-1]
    assert len(sizes) < 30
    assert max(sizes) == 504


def test_beside_rows_a_step_now_and_then_reads_nothing_and_shows_that_steps_are_slower_now() -> None:
    pace = Pace(ON_CPU)
    step, token = 0.1, 0.003

    def read(steps: int) -> list[int]:
        sizes = []
        for _ in range(steps):
            sizes.append(pace.chunk_tokens(running=4, unread=[4000], beside=True))
            pace.note(step + token * sizes[-1], decoding=True, read_tokens=sizes[-1], beside=bool(sizes[-1]))
        return sizes

    for _ in range(5):
        pace.note(step, decoding=True, read_tokens=0)
    before = read(60)
    assert before.count(0) == 60 // (ON_CPU.unseen + 1)
    step, token = 0.2, 0.006  # somebody else is using the machine
    after = read(80)
    assert median(after[-30:]) == pytest.approx(median(before[-30:]), rel=0.15)


def test_what_large_chunks_cost_is_not_forgotten_over_small_ones() -> None:
    """Where a start costs the most, small chunks alone would tell nothing of a token, whatever the noise."""
    chance = random.Random(7)  # noqa: S311 -- noise
    pace, sizes = Pace(ON_CUDA), []

    def note(tokens: int) -> None:
        seconds = 0.012 + 0.00001 * tokens + chance.uniform(-0.001, 0.002)
        pace.note(seconds, decoding=True, read_tokens=tokens, beside=True)

    for _ in range(20):
        pace.note(0.0072, decoding=True, read_tokens=0)
    for tokens in (24, 56, 120, 248, 504):  # as in a rehearsal
        note(tokens)
    for _ in range(100):
        sizes.append(pace.chunk_tokens(running=8, beside=True))
        note(sizes[-1])
    assert 120 <= median(sizes[10:]) <= 248


def test_a_burst_that_was_large_makes_no_usual_chunk_larger_than_the_most() -> None:
    pace = Pace(ON_CUDA)
    pace.note(0.1, decoding=True, read_tokens=0)
    for tokens in (248, 504, 4 * ON_CUDA.most):
        pace.note(0.1 + 0.000001 * tokens, decoding=True, read_tokens=tokens, beside=True)
    assert pace.chunk_tokens(running=8, beside=True) <= ON_CUDA.most
