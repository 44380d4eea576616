"""Stop strings: wherever the text is cut into pieces, the same is shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inference.http.stops import StopMatcher

# A small alphabet makes stop strings that overlap, repeat, and begin inside of one another.
texts = st.text("abc", max_size=30)
stop_lists = st.lists(st.text("abc", min_size=1, max_size=5), max_size=4).map(tuple)


def shown(pieces: list[str], stops: tuple[str, ...]) -> tuple[str, str | None]:
    matcher = StopMatcher(stops)
    text = "".join(matcher.feed(piece) for piece in pieces)
    return text + matcher.flush(), matcher.matched


def by_definition(text: str, stops: tuple[str, ...]) -> tuple[str, str | None]:
    """The first position at which some stop string is complete; of several there, the longest."""
    for end in range(1, len(text) + 1):
        complete = [stop for stop in stops if text[:end].endswith(stop)]
        if complete:
            longest = max(complete, key=len)
            return text[: end - len(longest)], longest
    return text, None


@given(texts, stop_lists)
def test_it_ends_the_text_where_the_first_stop_string_is_complete(text: str, stops: tuple[str, ...]) -> None:
    assert shown([text], stops) == by_definition(text, stops)


@given(st.lists(texts, max_size=8), stop_lists)
def test_it_does_not_matter_how_the_text_is_cut(pieces: list[str], stops: tuple[str, ...]) -> None:
    assert shown(pieces, stops) == by_definition("".join(pieces), stops)


@given(texts, stop_lists)
def test_it_holds_back_no_more_than_the_beginning_of_a_stop_string(text: str, stops: tuple[str, ...]) -> None:
    matcher = StopMatcher(stops)
    visible = matcher.feed(text)
    if matcher.matched is None:
        held = text.removeprefix(visible)
        assert held == "" or any(stop.startswith(held) and stop != held for stop in stops)


def test_it_gives_out_nothing_after_a_match() -> None:
    matcher = StopMatcher(("END",))
    assert matcher.feed("one END two") == "one "
    assert matcher.feed("three") == ""
    assert matcher.flush() == ""
