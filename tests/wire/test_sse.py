"""Events are read as they were written, wherever the bytes were cut."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from ollaproject.wire.sse import Event, Reader

STREAM = (
    b': a comment\n\nevent: one\ndata: {"a": 1}\n\ndata: two\r\ndata: lines\r\n\r\n'
    b"data:no space\n\nid: 7\n\ndata: caf\xc3\xa9\n\ndata: last"
)
EXPECTED = [
    Event("one", b'{"a": 1}'),
    Event("", b"two\nlines"),
    Event("", b"no space"),
    Event("", "café".encode()),
    Event("", b"last"),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12).map(sorted))
def test_a_cut_anywhere_changes_nothing(places: list[int]) -> None:
    edges = [0, *places, len(STREAM)]
    reader = Reader()

    events = [event for start, end in itertools.pairwise(edges) for event in reader.feed(STREAM[start:end])]

    assert [*events, *reader.rest()] == EXPECTED
