"""How much of prompts is read with a step of running rows: as much as takes less time than the step.

Running streams then go on at a little more than half their speed, whatever the machine, the model, the number
of rows and the length of what was read already. Nobody waits when no row is decoding: then chunks are large.

A chunk in the pass of the rows costs something per token, and on a fast GPU more than a step only to name its
kernels; what it will cost is known from others only. A pass of its own is computed in slices, layer by layer,
and how long a layer takes is known from the one before: so such a pass may be large, and still end in time.
"""

from __future__ import annotations

from collections import defaultdict, deque
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SMALLEST_CHUNK_TOKENS = 16
"""In a pass of its own less would hardly be faster: a matrix product of few rows costs what one row costs."""
FIRST_CHUNK_TOKENS = 64
"""As long as nothing is known of what reading costs."""
GROWTH = 2
"""How much larger than the largest one of the latest a chunk may be: what it costs is a guess until then."""
MOST_STEPS_READ = 4
"""How many usual chunks may be read at once for prompts that outnumber the running rows."""
MOST_CHUNKS_BESIDE = 16
"""A prompt that would take more of them is read in passes of its own."""
LAYERS_OF_A_STEP = 2
"""A pass of its own is so small that a step has time for so many of its layers: less would be left unused."""
REMEMBERED = 12
UNSEEN_STEPS, LOOKS = 24, 3
"""After so many steps in which something was read, up to so many read nothing, until one was measured."""
FORGET_STEPS = 1000
"""As long as this reading beside rows is left alone where even little took too long."""
NEWS_SHARE, RARE_NEWS_SHARE = 0.25, 0.5
"""How much of what is known to take so long is made of the latest measurement: more, if it was asked for."""


class Sizes(NamedTuple):
    """How much may be read while rows are decoding. In the pass of the rows no less than `least` tokens,
    since fewer hardly take less time, and no more than `most`; in passes of their own up to `most_apart`.
    Reading takes up to a `share` of a step. Where sizes `are_few`, ends of prompts are no exception. With
    `is_clocked`, what the model is given has been computed when the call returns, and otherwise only later.

    While no row is decoding nobody has to wait, and a chunk is `idle` tokens. Short prompts that wait
    together are then read at once if they are a `burst` at the most: their rows begin together and share
    every step; one after the other, each step of the first ones would be one that the others have to take
    again.
    """

    least: int
    most: int
    most_apart: int
    idle: int
    burst: int
    share: float
    are_few: bool
    is_clocked: bool

    def up_to(self, most: int) -> Sizes:
        """The same, no pass or chunk beside rows larger than that. The others change in proportion."""
        idle, burst = (size * most // self.most_apart for size in (self.idle, self.burst))
        least, beside = (min(size, most) for size in (self.least, self.most))
        return self._replace(least=least, most=beside, most_apart=most, idle=idle, burst=burst)

    def choice(self, most: int) -> list[int]:
        """All sizes up to that one: two or four in each doubling."""
        bits = 2 if self.are_few else 3
        sizes = {lead << shift for lead in range(1, 1 << bits) for shift in range(most.bit_length())}
        return sorted(size for size in sizes if size <= most)


ON_CPU = Sizes(
    least=4,
    most=64,
    most_apart=128,
    idle=128,
    burst=1024,
    share=0.5,
    are_few=False,
    is_clocked=True,
)
"""Every token less is time less, but a prompt has to get on."""
ON_METAL = Sizes(
    least=32,
    most=256,
    most_apart=2048,
    idle=2048,
    burst=8192,
    share=0.6,
    are_few=False,
    is_clocked=False,
)
"""A GPU works on so many rows of a matrix as fast as on one."""
ON_CUDA = ON_METAL._replace(most=128, share=0.5, are_few=True)
"""Here matrices of a size that is new are multiplied after some milliseconds of preparation, for each layer's
kinds of them: so there are few sizes, and all are met before clients come (see rehearsal.py)."""


class Costs:
    """What chunks of several sizes have cost lately, in seconds."""

    def __init__(self) -> None:
        self._latest: deque[tuple[int, float]] = deque(maxlen=REMEMBERED)

    def __bool__(self) -> bool:
        return bool(self._latest)

    @property
    def largest(self) -> int:
        return max((tokens for tokens, _ in self._latest), default=0)

    @property
    def smallest(self) -> int:
        return min((tokens for tokens, _ in self._latest), default=0)

    def note(self, tokens: int, seconds: float) -> None:
        self._latest.append((tokens, max(seconds, 0.0)))
        self.__dict__.pop("_medians", None)

    def expected(self, tokens: int) -> float:
        """No more than a larger chunk, and no more than a smaller one in proportion. Those of a size count
        by their median: one for which a kernel was compiled took many times as long, and says nothing.
        """
        return min(
            (seconds * max(tokens / size, 1.0) for size, seconds in self._medians.items()), default=0.0
        )

    @cached_property
    def _medians(self) -> dict[int, float]:
        by_size: dict[int, list[float]] = defaultdict(list)
        for size, seconds in self._latest:
            by_size[size].append(seconds)
        return {size: median(seconds) for size, seconds in by_size.items()}


class Pace:
    """Measures steps, and chooses chunks of such `sizes`."""

    def __init__(self, sizes: Sizes) -> None:
        self._sizes = sizes
        self._step_seconds = 0.0  # of a step that reads nothing
        self._unseen = 0  # steps since one of these
        self._unread_steps = 0  # of these, since something was read beside one
        self._beside, self._layers = Costs(), Costs()
        self._sizes_apart = sizes.choice(sizes.most_apart)

    @property
    def _seconds(self) -> float:
        """How long a step may read."""
        return self._step_seconds * self._sizes.share

    def at_once(self, unread: Sequence[int] = ()) -> int:
        """How many tokens of prompts to read when no row is decoding. `unread` is left of each."""
        return max(self._sizes.idle, _within(unread, lambda _: self._sizes.burst))

    @property
    def is_clocked(self) -> bool:
        return self._sizes.is_clocked

    def looks(self) -> bool:
        """Whether this step should read nothing, to see how long steps take by now: while a long prompt is
        read, others may come to share the processor, and that must not look as if reading took longer. Asked
        for every step in which there is something to be read.
        """
        self._unseen = self._unseen + 1 if self._unseen < UNSEEN_STEPS + LOOKS else 1
        return self._unseen > UNSEEN_STEPS

    # --- In the pass of the rows ---

    def beside(self, rows: int) -> int:
        """How many tokens of prompts so many rows may have beside them. 0: even few take too long."""
        sizes = [together - rows for together in self._sizes.choice(self._sizes.most + rows)]
        sizes = [size for size in sizes if size >= self._sizes.least]
        if not (self._step_seconds and self._beside):
            return next((size for size in sizes if size >= SMALLEST_CHUNK_TOKENS), max(sizes, default=0))
        return self._largest(sizes, self._beside, 1)

    def beside_all(self, rows: int, unread: Sequence[int]) -> int:
        """The same for prompts of which so much is `unread`. They may be more than there are rows."""
        usual = self.beside(rows)
        return max(usual, _within(unread, lambda count: usual * min(count / rows, MOST_STEPS_READ)))

    def note(self, seconds: float, *, read_tokens: int = 0) -> None:
        """A step of rows took `seconds`, and so many tokens of prompts were read beside them."""
        if read_tokens:
            self._beside.note(read_tokens, seconds - self._step_seconds)
            self._unread_steps = 0
            return
        self._unread_steps += 1
        if self._unread_steps > FORGET_STEPS and not self.beside(1):
            self._beside, self._unread_steps = Costs(), 0
        known, share = self._step_seconds, RARE_NEWS_SHARE if self._unseen > UNSEEN_STEPS else NEWS_SHARE
        self._step_seconds = known + share * (seconds - known) if known else seconds
        self._unseen = 0

    # --- In passes of their own ---

    def apart(self, unread: int) -> int:
        """How many tokens of a prompt the next pass should read."""
        most = FIRST_CHUNK_TOKENS
        if self._step_seconds and self._layers:
            most = max(
                self._largest(self._sizes_apart, self._layers, LAYERS_OF_A_STEP), SMALLEST_CHUNK_TOKENS
            )
        count = min(most, unread, self._sizes.most_apart)
        if self._sizes.are_few and count > self._sizes.least:
            return self._sizes.choice(count)[-1]
        return count

    def has_time(self, tokens: int, *, layers: int, seconds: float) -> bool:
        """Whether a step has time for another layer of a pass of so many tokens, when it had so many layers,
        which took the engine so many `seconds`.
        """
        if not layers:
            return True
        each = seconds / layers
        if not self.is_clocked:  # the device may take longer than the engine did, or not as long
            if not self._layers:
                return False
            each = max(each, self._layers.expected(tokens))
        return (layers + 0.5) * each <= self._seconds

    def note_layers(self, tokens: int, *, layers: float, seconds: float) -> None:
        """So many layers of a pass of so many tokens took `seconds`. To be known only if a step is, too."""
        self._layers.note(tokens, seconds / layers)

    def note_slice(self, seconds: float, tokens: int, *, layers: float) -> None:
        """The same of layers, and a step of rows took `seconds` together with them."""
        if self._step_seconds:
            self.note_layers(tokens, layers=layers, seconds=seconds - self._step_seconds)

    def _largest(self, sizes: Sequence[int], costs: Costs, times: int) -> int:
        """The largest of them of which a step has time for so many, or one that is smaller than all that were
        too large; 0 if there is none.
        """
        most = costs.largest * GROWTH
        fitting = [size for size in sizes if size <= most and costs.expected(size) * times <= self._seconds]
        smaller = [size for size in sizes if size * GROWTH <= costs.smallest]
        return (fitting or smaller or [0])[-1]


def _within(unread: Sequence[int], most: Callable[[int], float]) -> int:
    """The tokens of the shortest prompts, as many as fit when so many may be read for a count of them."""
    total, fitting = 0, 0
    for count, tokens in enumerate(sorted(unread), start=1):
        total += tokens
        if total <= most(count):
            fitting = total
    return fitting
