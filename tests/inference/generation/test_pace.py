"""Sizing what is read: what is read between two steps takes no longer than a step."""

from __future__ import annotations

import random
from itertools import pairwise
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.generation.pace import (
    LOOKS,
    ON_CPU,
    ON_CUDA,
    ON_METAL,
    SMALLEST_CHUNK_TOKENS,
    UNSEEN_STEPS,
    Pace,
    Sizes,
)

ROUNDING = 0.8  # sizes are rounded down, to four in each doubling
ROWS = 4
LAYERS = 30
MOST_STEPS = 3000


class Machine:
    """A model whose steps take `step` seconds, reading beside them `start` and `token`, and a layer of a
    pass of its own `layer`, for each token and for each that was read before. New sizes are `compiled`.
    """

    def __init__(
        self,
        sizes: Sizes = ON_CPU,
        *,
        step: float,
        start: float = 0.0,
        token: float = 0.001,
        layer: tuple[float, float] = (0.0001, 0.0),
        compiled: float = 0.0,
        noise: float = 0.0,
    ) -> None:
        self.pace, self.sizes = Pace(sizes), sizes
        self.step, self.start, self.token, self.layer, self.compiled = step, start, token, layer, compiled
        self.noise = noise
        self._chance = random.Random(1)  # noqa: S311 -- noise
        self._known: set[int] = set()

    def decode(self, steps: int = 1) -> None:
        for _ in range(steps):
            self.pace.note(self._noisy(self.step))

    def read_beside(self, tokens: int) -> list[int]:
        """The sizes of the chunks in which so many tokens are read."""
        sizes: list[int] = []
        while tokens > 0:
            size = 0 if self.pace.looks() else min(self.pace.beside(ROWS), tokens)
            assert len(sizes) < MOST_STEPS
            seconds = self._noisy(self.step)
            if size:
                seconds += self._noisy(self.start + self.token * size) + self._first(size)
            self.pace.note(seconds, read_tokens=size)
            sizes.append(size)
            tokens -= size
        return sizes

    def read_apart(self, tokens: int) -> tuple[list[int], list[float]]:
        """The sizes of the passes in which so many tokens are read, and how long slices took, in steps."""
        sizes, slices, place = [], [], 0
        while place < tokens:
            size = self.pace.apart(tokens - place)
            sizes.append(size)
            left = LAYERS
            while left:
                layers, seconds = 0, 0.0
                while left and self.pace.has_time(size, layers=layers, seconds=self._seen(seconds)):
                    seconds += self._noisy(size * (self.layer[0] + self.layer[1] * place)) + self._first(size)
                    layers, left = layers + 1, left - 1
                slices.append(seconds / self.step)
                step = self._noisy(self.step)
                if self.sizes.is_clocked:
                    self.pace.note_layers(size, layers=layers, seconds=seconds)
                    self.pace.note(step)
                else:
                    self.pace.note_slice(step + seconds, size, layers=layers)
            place += size
        return sizes, slices

    def _seen(self, seconds: float) -> float:
        """By the engine's clock: on a GPU it is over before the device is."""
        return seconds if self.sizes.is_clocked else seconds / 4

    def _first(self, size: int) -> float:
        seconds = 0.0 if size in self._known else self.compiled
        self._known.add(size)
        return seconds

    def _noisy(self, seconds: float) -> float:
        return seconds * (1 + self._chance.uniform(-self.noise, self.noise))


@pytest.mark.parametrize("sizes", [ON_CPU, ON_METAL])
def test_a_chunk_beside_rows_takes_its_share_of_a_step(sizes: Sizes) -> None:
    machine = Machine(sizes, step=0.1, token=0.0015)
    machine.decode()
    found = machine.read_beside(1500)[4:-1]
    fitting = sizes.share * 0.1 / 0.0015
    assert fitting * ROUNDING - ROWS <= max(found) <= fitting
    assert found.count(0) <= LOOKS * (len(found) // UNSEEN_STEPS + 1)


def test_it_does_so_where_measurements_are_noisy() -> None:
    machine = Machine(step=0.4, token=0.005, start=0.04, noise=0.2)
    machine.decode(10)
    sizes = [size for size in machine.read_beside(8000)[5:-1] if size]
    assert 0.7 * 32 < sum(sizes) / len(sizes) < 1.2 * 32  # 0.2 s, less the start


def test_where_a_start_alone_takes_too_long_nothing_is_read_beside_rows() -> None:
    machine = Machine(ON_CUDA, step=0.01)
    machine.decode()
    for tokens in (28, 60, 124) * 2:  # as in a rehearsal
        machine.pace.note(0.018, read_tokens=tokens)
    assert machine.pace.beside(ROWS) == 0


def test_one_slow_chunk_says_nothing_of_the_next() -> None:
    machine = Machine(step=0.1, token=0.0015)
    machine.decode()
    machine.read_beside(1000)
    before = machine.pace.beside(ROWS)
    machine.pace.note(5.0, read_tokens=before)
    assert machine.pace.beside(ROWS) == before


def test_it_reads_much_when_nobody_waits() -> None:
    machine = Machine(step=0.1)
    machine.decode()
    machine.read_beside(500)
    assert machine.pace.at_once([4000]) == ON_CPU.idle
    assert Pace(ON_CPU.up_to(32)).at_once([4000]) == 32


def test_short_prompts_that_come_together_are_read_together_when_nobody_waits() -> None:
    pace = Pace(ON_CPU)
    assert pace.at_once([40] * 8) == 320
    assert pace.at_once([40] * 30) == 1000
    assert pace.at_once([4000, 20]) == 128


def test_short_prompts_that_outnumber_the_running_rows_are_read_at_once() -> None:
    machine = Machine(step=0.1, token=0.001)
    machine.decode()
    machine.read_beside(1000)
    usual = machine.pace.beside(1)
    assert 2 * 40 > usual > 40
    assert machine.pace.beside_all(1, [40] * 4) == 160
    assert 4 * usual - 40 < machine.pace.beside_all(1, [40] * 30) <= 4 * usual
    assert machine.pace.beside_all(8, [40] * 7) == machine.pace.beside(8)
    assert machine.pace.beside_all(1, [4000] * 9) == usual  # long ones, however many


def test_it_begins_with_little() -> None:
    assert Pace(ON_CPU).beside(ROWS) == SMALLEST_CHUNK_TOKENS
    assert Pace(ON_CPU.up_to(8)).beside(ROWS) == 8
    assert Pace(ON_CPU).apart(4000) == 64
    assert Pace(ON_CPU.up_to(32)).apart(4000) == 32
    assert not Pace(ON_CPU).has_time(64, layers=1, seconds=0.001)


@pytest.mark.parametrize("way", ["read_beside", "read_apart"])
def test_chunks_double_at_the_most(way: str) -> None:
    machine = Machine(ON_METAL, step=0.1, token=0.000001, layer=(0.0000001, 0.0))
    machine.decode()
    found = getattr(machine, way)(8000)
    sizes = [size for size in (found if way == "read_beside" else found[0]) if size]
    for size, after in pairwise(sizes):
        assert after <= 2 * size
    assert max(sizes) == (ON_METAL.most - ROWS if way == "read_beside" else ON_METAL.most_apart)


@pytest.mark.parametrize("sizes", [ON_CPU, ON_METAL, ON_CUDA])
def test_slices_end_before_rows_have_waited_for_another_step(sizes: Sizes) -> None:
    """However much was read before, which makes each layer dearer."""
    machine = Machine(sizes, step=0.1, layer=(0.0001, 0.0000001))
    machine.decode()
    passes, slices = machine.read_apart(8000)
    assert max(slices) <= 0.9
    assert median(slices) >= 0.4
    assert sum(slices) / len(slices) >= 0.75 * sizes.share
    assert max(passes) >= 64


def test_slices_do_so_on_a_machine_that_others_use_as_well() -> None:
    machine = Machine(step=0.1, layer=(0.0001, 0.0000001), noise=0.2)
    machine.decode(10)
    _, slices = machine.read_apart(4000)
    assert max(slices) <= 1.05
    assert median(slices) >= 0.4


def test_a_layer_that_was_compiled_makes_no_later_pass_small() -> None:
    machine = Machine(ON_METAL, step=0.02, layer=(0.000004, 0.0), compiled=0.3)
    machine.decode()
    machine.read_apart(8000)
    sizes, _ = machine.read_apart(8000)
    assert max(sizes) == 1280  # two layers, of 0.005 s each, are what a step has time for


def test_a_small_pass_counts_on_no_less_than_was_seen_of_small_ones() -> None:
    """On a fast GPU naming the kernels of a layer takes as long as to compute a large chunk of it."""
    pace = Pace(ON_CUDA)
    pace.note(0.008)
    pace.note_slice(0.008 + 0.004, 2048, layers=4)
    pace.note_slice(0.008 + 0.0036, 32, layers=9)
    assert pace.has_time(32, layers=8, seconds=0.0016)
    assert not pace.has_time(32, layers=13, seconds=0.0026)
    assert not pace.has_time(2048, layers=5, seconds=0.001)


def test_the_engines_own_time_counts_where_it_is_longer_than_expected() -> None:
    """At the beginning of a pass a GPU's kernels are chosen for lengths that are new."""
    pace = Pace(ON_CUDA)
    pace.note(0.008)
    pace.note_slice(0.008 + 0.001, 2048, layers=4)
    assert pace.has_time(2048, layers=1, seconds=0.0005)
    assert not pace.has_time(2048, layers=1, seconds=0.005)


def test_ends_of_prompts_are_read_whole_unless_sizes_are_few() -> None:
    assert Pace(ON_CPU).apart(61) == 61
    assert Pace(ON_METAL).apart(61) == 61
    assert [Pace(ON_CUDA).apart(unread) for unread in (61, 47, 33, 31, 5)] == [48, 32, 32, 31, 5]


def test_where_each_size_is_prepared_anew_few_are_met() -> None:
    """Rows and chunk together: that is what a matrix of weights is multiplied with."""
    machine = Machine(ON_CUDA, step=0.01, token=0.00003, layer=(0.000001, 0.0000000005))
    machine.decode()
    beside = {size + ROWS for size in machine.read_beside(4000)[:-1] if size}
    apart, _ = machine.read_apart(16000)
    few = {size << shift for size in (2, 3) for shift in range(3, 11)}
    assert len(beside) > 1
    assert beside - {SMALLEST_CHUNK_TOKENS + ROWS} <= few
    assert len(set(apart)) > 2
    assert {size for size in apart if size > ON_CUDA.least} <= few


def test_it_follows_as_steps_become_slower() -> None:
    machine = Machine(step=0.05, token=0.0015)
    machine.decode()
    before = median(machine.read_beside(1000)[-20:-1])
    machine.step, machine.token = 0.2, 0.006  # somebody else is using the machine
    sizes = machine.read_beside(2000)
    assert sizes.count(0)  # a step now and then reads nothing, and shows that steps are slower now
    assert median(sizes[-30:-1]) == pytest.approx(before, rel=0.25)


def test_looking_ends_when_no_step_can_be_measured() -> None:
    """As when guesses are checked: what that takes tells nothing of a step."""
    pace = Pace(ON_CUDA)
    looked = [pace.looks() for _ in range(10 * (UNSEEN_STEPS + LOOKS))]
    assert looked.count(True) == 10 * LOOKS
    assert not looked[0]


def test_a_step_that_was_seen_need_not_be_looked_at() -> None:
    pace = Pace(ON_CPU)
    for _ in range(UNSEEN_STEPS):
        assert not pace.looks()
    pace.note(0.1)
    assert not pace.looks()


@pytest.mark.parametrize("most", [16, 64, 512])
@given(
    steps=st.lists(
        st.tuples(st.floats(0, 100), st.sampled_from(["step", "beside", "slice"]), st.integers(1, 5000)),
        max_size=30,
    ),
)
def test_it_stays_within_its_bounds_whatever_was_measured(
    most: int, steps: list[tuple[float, str, int]]
) -> None:
    pace = Pace(ON_METAL.up_to(most))
    for seconds, kind, tokens in steps:
        if kind == "slice":
            pace.note_slice(seconds, tokens, layers=3)
        else:
            pace.note(seconds, read_tokens=tokens if kind == "beside" else 0)
        assert 0 <= pace.beside(1) <= min(most, ON_METAL.most)
        assert SMALLEST_CHUNK_TOKENS <= pace.apart(4000) <= most
