"""How much of a prompt is read with a step of running rows: as much as takes less time than the step.

Running streams then go on at a little more than half their speed, whatever the machine, the model, the number
of rows and the length of what was read already. Nobody waits when no row is decoding: then chunks are large.
When more short prompts wait than rows are running, as after a burst, those that can begin at once are read at
once: one by one they would cost everybody more steps than the few that are running gain.

Reading costs something per token, and something each time: little on a CPU, more than a step of a few rows on
a fast GPU, where a small chunk takes as long as a large one. Only the two together say what to read.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from itertools import accumulate, combinations
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

SMALLEST_CHUNK_TOKENS = 16
"""Less would hardly be faster: a matrix product of a few rows costs what one row costs."""
MOST_STEPS_READ = 4
"""How many usual chunks may be read at once for prompts that outnumber the running rows."""
NEWS_SHARE, RARE_NEWS_SHARE = 0.25, 0.5
"""How much of what is known to take so long is made of the latest measurement: more, if it was asked for."""
REMEMBERED_READS, REMEMBERED_OF_A_SIZE = 16, 3
LATEST_READS = 5
PROBE_FACTOR = 4
"""A chunk is so many times smaller, or twice as large, when all the latest were alike: only unlike ones tell
both costs."""
UNLIKE_SIZES = 1.5
"""How many times larger the one of two chunks must be, for them to tell the start's cost from a token's."""
FIRST_CHUNK_TOKENS = 64
"""As long as nothing is known of what reading costs."""
SHARE_OF_STEP = 0.85
"""How long a chunk may take, in steps. Some take longer than was foreseen: these, too, are to be over before
running rows have waited for two of their steps."""
WORTH_ITS_START, WORTH_ITS_START_BESIDE = 1.5, 1.25
"""Where it takes longer than that only to begin, a chunk may take so many times that."""
LATEST_CHUNKS = 2
GROWTH = 2
"""How much larger than the larger one of the latest a chunk may be: what it costs is a guess until then, and
the very last one may have been what was left of a prompt."""


class Sizes(NamedTuple):
    """How large chunks may be while rows are decoding: in the pass of the rows no smaller than `least`
    tokens, since fewer hardly take less time, and no larger than `most`, above which reading hardly gets
    faster. Once in a while it may be as little as `probe`, to see what a start costs, and after `unseen` of
    them a step reads nothing. It takes up to a `share` of a step. Rows and the chunk beside them are together
    a number of so many `significant_bits`; what was read with one of them is remembered for each size.

    While no row is decoding nobody has to wait, and a chunk is `idle` tokens. Short prompts that wait
    together are then read at once if they are a `burst` at the most: their rows begin together and share
    every step; one after the other, each step of the first ones would be one that the others have to take
    again.
    """

    least: int
    most: int
    probe: int
    unseen: float
    idle: int
    burst: int
    share: float
    significant_bits: int

    def up_to(self, most: int) -> Sizes:
        """The same, and none larger than that beside rows; without them by as much smaller or larger."""
        idle, burst = (size * most // self.most for size in (self.idle, self.burst))
        return self._replace(least=min(self.least, most), most=most, idle=idle, burst=burst)


ON_CPU = Sizes(least=4, most=64, probe=1, unseen=12, idle=128, burst=1024, share=0.6, significant_bits=3)
"""Every token less is time less, but a prompt has to get on. That takes a while, in which others may come to
share the processor: if steps take longer then, that must not look as if reading did."""
ON_METAL = Sizes(
    least=32, most=1024, probe=8, unseen=math.inf, idle=2048, burst=8192, share=0.75, significant_bits=3
)
"""A GPU works on so many rows of a matrix as fast as on one."""
ON_CUDA = Sizes(
    least=32, most=512, probe=32, unseen=math.inf, idle=2048, burst=8192, share=0.85, significant_bits=1
)
"""Here matrices of a size that is new are multiplied after some milliseconds of preparation, for each layer's
kinds of them: so there are few sizes, and all are met before clients come (see inference/rehearsal.py). Most
of what a chunk costs here is naming its kernels, and only sizes that lie far apart tell what a token does;
beside rows, attention of more than 512 tokens over thousands takes several times as long."""


class Cost(NamedTuple):
    """Seconds that reading takes each time, and for each token."""

    start: float = 0.0
    token: float = 0.0


class Reads:
    """What reading has cost lately, or if `sizes_are_few`, with each of them."""

    def __init__(self, *, sizes_are_few: bool) -> None:
        self._kept = REMEMBERED_OF_A_SIZE if sizes_are_few else REMEMBERED_READS
        self._sizes_are_few = sizes_are_few
        self._by_size: dict[int, deque[tuple[int, float]]] = {}  # tokens, seconds
        self.cost = Cost()

    def __bool__(self) -> bool:
        return bool(self._by_size)

    @property
    def _latest(self) -> list[tuple[int, float]]:
        return [read for reads in self._by_size.values() for read in reads]

    @property
    def largest_known(self) -> int:
        """The largest chunk whose cost is not forgotten; 0 where all costs are."""
        return max((tokens for tokens, _ in self._latest), default=0) if self._sizes_are_few else 0

    def note(self, tokens: int, seconds: float) -> None:
        size = tokens.bit_length() if self._sizes_are_few else 0
        self._by_size.setdefault(size, deque(maxlen=self._kept)).append((tokens, seconds))
        found = _cost_of(self._latest, known=self.cost)
        is_news = not any(self.cost)
        self.cost = found if is_news else Cost(*map(_moved_towards, self.cost, found))

    def would_tell_costs_apart(self, tokens: int) -> bool:
        """Whether chunks of unlike sizes are among the latest, once so many tokens have been read."""
        return bool(_unlike([*self._latest, (tokens, 0.0)]))


class Pace:
    """Measures steps and chooses chunks of such `sizes`. They are read in passes of their own, or `beside`
    the rows in the same pass.
    """

    def __init__(self, sizes: Sizes) -> None:
        self._sizes = sizes
        self._step_seconds = 0.0  # of a step that reads nothing
        self._unseen = 0  # chunks since one of these
        self._looks = False  # whether a step reads nothing in order to be measured
        few = sizes.significant_bits == 1
        self._apart, self._beside = Reads(sizes_are_few=False), Reads(sizes_are_few=few)
        self._chunks = deque([min(FIRST_CHUNK_TOKENS, sizes.most)], maxlen=LATEST_CHUNKS)  # beside rows

    def chunk_tokens(self, *, running: int, unread: Sequence[int] = (), beside: bool = False) -> int:
        """How many tokens of prompts the next step should read, all prompts together, while so many rows are
        decoding. `unread` is how much is left of each prompt. Beside rows it is now and then none.
        """
        if not running:
            at_once = _within(unread, lambda _: self._sizes.burst)
            return max(self._sizes.idle, at_once)
        if beside:
            self._unseen += 1
            if self._unseen > self._sizes.unseen:
                self._unseen, self._looks = 0, True
                return 0
        usual = self._usual_tokens(running, beside=beside)
        return max(usual, _within(unread, lambda count: usual * min(count / running, MOST_STEPS_READ)))

    def _usual_tokens(self, running: int, *, beside: bool) -> int:
        reads = self._beside if beside and self._beside else self._apart
        if not (self._step_seconds and reads):
            return max(self._chunks)
        smallest, share, worth = (
            (self._sizes.least, self._sizes.share, WORTH_ITS_START_BESIDE)
            if beside
            else (SMALLEST_CHUNK_TOKENS, SHARE_OF_STEP, WORTH_ITS_START)
        )
        rows = running if beside else 0
        most = max(self._grown(max(self._chunks), rows), min(reads.largest_known, self._sizes.most))
        seconds = max(self._step_seconds * share, reads.cost.start * worth)
        tokens = max(int(min(_tokens_read_in(seconds, reads.cost), most)), smallest)
        tokens = self._rounded(tokens, rows)
        if reads.would_tell_costs_apart(tokens):
            return tokens
        smaller = tokens // PROBE_FACTOR
        if smaller >= (self._sizes.probe if beside else SMALLEST_CHUNK_TOKENS):
            return smaller
        return self._rounded(self._grown(tokens, rows), rows)

    def note(self, seconds: float, *, decoding: bool, read_tokens: int, beside: bool = False) -> None:
        """A step took `seconds`. Rows were decoding in it or not, and so many tokens of prompts were read."""
        if read_tokens:
            of_reading = seconds - (self._step_seconds if decoding else 0.0)
            (self._beside if beside else self._apart).note(read_tokens, max(of_reading, 0.0))
            if decoding:
                self._chunks.append(min(max(read_tokens, SMALLEST_CHUNK_TOKENS), self._sizes.most))
        elif decoding:
            known, share = self._step_seconds, RARE_NEWS_SHARE if self._looks else NEWS_SHARE
            self._step_seconds = _moved_towards(known, seconds, share) if known else seconds
            self._unseen, self._looks = 0, False

    def _grown(self, tokens: int, rows: int) -> int:
        """The most that may follow so many."""
        return min((tokens + rows) * GROWTH - rows, self._sizes.most)

    def _rounded(self, tokens: int, rows: int) -> int:
        """No more than so many, unless nothing were left."""
        together = tokens + rows
        shift = max(together.bit_length() - self._sizes.significant_bits, 0)
        while (rounded := (together >> shift << shift) - rows) <= 0:
            shift -= 1
        return rounded


def _tokens_read_in(seconds: float, cost: Cost) -> float:
    return (seconds - cost.start) / cost.token if cost.token else math.inf


def _moved_towards(known: float, seconds: float, share: float = NEWS_SHARE) -> float:
    return known + share * (seconds - known)


def _within(unread: Sequence[int], most: Callable[[int], float]) -> int:
    """The tokens of the shortest prompts, as many as fit when so many may be read for a count of them."""
    total, fitting = 0, 0
    for count, tokens in enumerate(sorted(unread), start=1):
        total += tokens
        if total <= most(count):
            fitting = total
    return fitting


def _cost_of(reads: Sequence[tuple[int, float]], *, known: Cost) -> Cost:
    """The line through what was measured, by medians: a chunk for which the backend had to compile something
    takes many times as long, and says nothing about the next one.

    Chunks of like sizes do not tell one cost from the other: then the start costs what was known. That what
    lies far back in a long prompt costs more, would otherwise look as if small chunks, which come there, did.
    """
    unlike = _unlike(reads)
    if unlike:
        token = _token_seconds(unlike)
        sizes = [tokens for tokens, _ in reads]
        if token > 0 or max(sizes) >= PROBE_FACTOR * min(sizes):  # large chunks may be as fast as small ones
            token = max(token, 0.0)
            return Cost(max(median(seconds - token * tokens for tokens, seconds in reads), 0.0), token)
    latest = [*reads][-LATEST_READS:]
    start = min(known.start, median(seconds for _, seconds in latest))
    return Cost(start, median(max(seconds - start, 0.0) / tokens for tokens, seconds in latest))


def _token_seconds(pairs: list[tuple[tuple[int, float], tuple[int, float]]]) -> float:
    """The median of the slopes (Theil and Sen), each counted as often as its sizes lie apart."""
    slopes = sorted(((b - a) / (n - m), n - m) for (m, a), (n, b) in pairs)
    weights = [*accumulate(weight for _, weight in slopes)]
    return slopes[bisect_left(weights, weights[-1] / 2)][0]


def _unlike(reads: Iterable[tuple[int, float]]) -> list[tuple[tuple[int, float], tuple[int, float]]]:
    """Pairs of chunks, the smaller one first, whose sizes differ enough to tell the start from the tokens."""
    pairs = (sorted(pair) for pair in combinations(reads, 2))
    return [(small, large) for small, large in pairs if large[0] >= UNLIKE_SIZES * small[0]]
