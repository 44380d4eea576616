"""What was read before is not read again: a radix tree over tokens, whose edges hold what the model keeps of
them.

Imports mlx: loaded by the model process only, and everything here runs on the engine thread. Every sequence
is a way from the root, so what sequences share is held once, and each prompt finds its longest known
beginning, to the token: a repeated prompt, a system prompt that others had, a conversation that goes on.
Whole sequences trimmed to the common beginning would hold a system prompt once per conversation; blocks of
fixed size would lose up to a block at every end, and cost thousands of small arrays. A batch copies what a
row brings along, so nothing here is ever written to and nothing has to be locked while it is in use.

Models with sliding windows or recurrent layers can go on only from places where their state was kept: the
end of a prompt, the end of an answer, and wherever prompts were seen to part.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np

from inference.cache.kept_state import Span, State, caches_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from inference.cache.disk_cache import DiskCache

    Tokens = np.ndarray[tuple[int], np.dtype[np.uint32]]

SHORTEST_REUSE_TOKENS = 16
"""Reading so few tokens is cheaper than keeping and fetching them."""


@dataclass(frozen=True, slots=True)
class Reuse:
    """What is known of a prompt: its first `length` tokens, as `caches` to go on from (None: nothing).

    `parting` is a later place where the model's state should be kept, because other prompts go on
    differently from there; 0 when there is none.
    """

    length: int = 0
    caches: list[Any] | None = None
    parting: int = 0


@dataclass(slots=True, eq=False)
class Node:
    """The tokens between its parent and here. `state` is what the model needs to go on from their end."""

    tokens: Tokens
    span: Span
    parent: Node | None
    state: State | None = None
    children: dict[int, Node] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        return self.tokens.nbytes + self.span.nbytes + (self.state.nbytes if self.state else 0)


class PromptCache:
    """At most `max_bytes` of what was read, the least recently used going first; 0 keeps nothing.

    `cuts_anywhere` is false for models that can go on from kept states only. What is kept is also written to
    `disk`, and found there again.
    """

    def __init__(self, *, max_bytes: int, cuts_anywhere: bool, disk: DiskCache | None = None) -> None:
        self._disk = disk
        self.max_bytes = max_bytes
        self.cuts_anywhere = cuts_anywhere
        self.nbytes = 0
        self._root = Node(_array([]), Span(()), None)
        # Parents are always more recently used than their children, so the first one has none.
        self._by_use: OrderedDict[Node, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_use)

    def fetch(self, prompt: Sequence[int]) -> Reuse:
        """The longest known beginning of `prompt`. Its last token is never part of it: that one is read to
        get the answer's first.
        """
        sequence = _array(prompt[:-1])
        self._recall(sequence)
        path, matched = self._walk(sequence)
        length, state = self._place_to_go_on_from(path, matched)
        parting = matched if not self.cuts_anywhere and matched - length >= SHORTEST_REUSE_TOKENS else 0
        self._touch(path)
        if length < SHORTEST_REUSE_TOKENS:
            return Reuse(parting=parting)
        used, reached = [], 0
        for node in path:
            if reached < length:
                used.append(node.span)
                reached += len(node.tokens)
        return Reuse(length, caches_of(used, state, length=length), parting)

    def store(self, tokens: Sequence[int], caches: Sequence[Any]) -> None:
        """Keep what `caches`, of one row, hold: all of `tokens`, and nothing else. They are not changed."""
        if len(tokens) < SHORTEST_REUSE_TOKENS or not self.max_bytes:
            return
        sequence = _array(tokens)
        path, matched = self._walk(sequence)
        state = State.taken_from(caches)
        self._write(sequence, caches, state)
        if matched == len(sequence) and (state is None or self._has_state_at(path, matched)):
            self._touch(path)
            return
        span = Span.taken_from(caches, start=matched)
        if sum(node.nbytes for node in path) + self.nbytes_of(span, state) > self.max_bytes:
            return  # it would push out everything else, and then itself
        _compute([span], state)
        self._touch(self._grow(path, sequence, span, state))
        self.make_room(self.max_bytes)

    @property
    def is_written(self) -> bool:
        """Whether everything that is to be written has been handed to the disk."""
        return self._disk is None or not self._disk.has_fresh

    def flush(self) -> None:
        """Hand what was computed meanwhile to the disk."""
        if self._disk is not None:
            self._disk.flush()

    def close(self) -> None:
        """Let go of everything; what is on the disk stays."""
        self.clear()
        if self._disk is not None:
            self._disk.close()

    def _write(self, sequence: Tokens, caches: Sequence[Any], state: State | None) -> None:
        if self._disk is None:
            return
        covered = self._disk.covers(sequence, whole=not self.cuts_anywhere)
        if len(sequence) - covered >= SHORTEST_REUSE_TOKENS:
            span = Span.taken_from(caches, start=covered)
            _compute([span], state)
            self._disk.keep(sequence, covered, span, state)

    def _recall(self, sequence: Tokens) -> None:
        """Bring what the disk knows of `sequence`, and memory does not, into memory."""
        if self._disk is None or not len(self._disk):
            return
        known, _ = self._place_to_go_on_from(*self._walk(sequence))
        pieces = self._disk.pieces_of(sequence, known=known, whole=not self.cuts_anywhere)
        if not pieces or pieces[-1].end - known < SHORTEST_REUSE_TOKENS:
            return
        for piece in pieces:
            loaded = self._disk.load(piece)
            if loaded is None:
                return
            self._put_back(sequence[: piece.end], piece.start, *loaded)

    def _put_back(self, sequence: Tokens, start: int, span: Span, state: State | None) -> None:
        path, matched = self._walk(sequence)
        if matched == len(sequence) and (state is None or self._has_state_at(path, matched)):
            return
        if matched > start:
            _, span = span.split(matched - start)
        if self.nbytes_of(span, state) <= self.max_bytes:
            self._touch(self._grow(path, sequence, span, state))
            self.make_room(self.max_bytes)

    def make_room(self, most_bytes: int) -> None:
        """Hold no more than so many bytes now. Running rows need the rest."""
        while self.nbytes > most_bytes and self._by_use:
            self._drop(next(iter(self._by_use)))

    @staticmethod
    def nbytes_of(span: Span, state: State | None) -> int:
        return span.nbytes + (state.nbytes if state else 0)

    def clear(self) -> None:
        self._root.children.clear()
        self._by_use.clear()
        self.nbytes = 0

    def _walk(self, tokens: Tokens) -> tuple[list[Node], int]:
        """The nodes along `tokens`, the last one possibly in part only, and how many tokens they share."""
        path: list[Node] = []
        node, matched = self._root, 0
        while matched < len(tokens) and (child := node.children.get(int(tokens[matched]))):
            shared = shared_length(child.tokens, tokens[matched:])
            path.append(child)
            matched += shared
            if shared < len(child.tokens):
                break
            node = child
        return path, matched

    def _place_to_go_on_from(self, path: list[Node], matched: int) -> tuple[int, State | None]:
        if self.cuts_anywhere:
            return matched, None
        place = 0
        best: tuple[int, State | None] = (0, None)
        for node in path:
            place += len(node.tokens)
            if place <= matched and node.state is not None:
                best = (place, node.state)
        return best

    def _has_state_at(self, path: list[Node], matched: int) -> bool:
        return self._place_to_go_on_from(path, matched)[0] == matched

    def _grow(self, path: list[Node], sequence: Tokens, span: Span, state: State | None) -> list[Node]:
        """Add the end of `sequence` that `path` does not have, with a `state`. The new way."""
        path = self._cut(path, sequence)
        known = sum(len(node.tokens) for node in path)
        parent = path[-1] if path else self._root
        if known == len(sequence):
            parent.state = state
            self.nbytes += state.nbytes if state else 0
            return path
        node = Node(sequence[known:].copy(), span, parent, state)
        parent.children[int(node.tokens[0])] = node
        self._by_use[node] = None
        self.nbytes += node.nbytes
        return [*path, node]

    def _cut(self, path: list[Node], sequence: Tokens) -> list[Node]:
        """The way along `sequence`, its last node cut in two where they part."""
        before = sum(len(node.tokens) for node in path[:-1])
        if not path:
            return path
        lower = path[-1]
        place = shared_length(lower.tokens, sequence[before:])
        if place == len(lower.tokens):
            return path
        first, rest = lower.span.split(place)
        _compute([first, rest], None)
        upper = Node(
            lower.tokens[:place].copy(), first, lower.parent, children={int(lower.tokens[place]): lower}
        )
        self._parent_of(lower).children[int(lower.tokens[0])] = upper
        lower.tokens, lower.span, lower.parent = lower.tokens[place:].copy(), rest, upper
        self._by_use[upper] = None
        return [*path[:-1], upper]

    def _touch(self, path: Iterable[Node]) -> None:
        for node in reversed([*path]):
            self._by_use.move_to_end(node)

    def _drop(self, leaf: Node) -> None:
        """Forget a node without children, and what leads to nowhere then."""
        parent = self._parent_of(leaf)
        del parent.children[int(leaf.tokens[0])]
        del self._by_use[leaf]
        self.nbytes -= leaf.nbytes
        leads_nowhere = not self.cuts_anywhere and not parent.children and parent.state is None
        if leads_nowhere and parent is not self._root:
            self._drop(parent)

    def _parent_of(self, node: Node) -> Node:
        return node.parent or self._root


def _array(tokens: Sequence[int]) -> Tokens:
    return np.asarray(tokens, dtype=np.uint32)


def shared_length(one: Tokens, other: Tokens) -> int:
    """How many tokens two sequences begin with alike."""
    size = min(len(one), len(other))
    differing = np.flatnonzero(one[:size] != other[:size])
    return int(differing[0]) if len(differing) else size


def shared_tokens(one: list[int], other: list[int], *, at_least: int) -> int:
    """How many tokens two sequences begin with alike; 0 when they are fewer than `at_least`."""
    return 0 if one[:at_least] != other[:at_least] else shared_length(_array(one), _array(other))


def _compute(spans: Iterable[Span], state: State | None) -> None:
    """Now, so that the batch they were taken from is not kept alive."""
    arrays = [array for span in spans for array in span.arrays()]
    mx.async_eval(arrays + (state.arrays() if state else []))
