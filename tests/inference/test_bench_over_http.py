"""The benchmark of servers goes on when one of them fails: what cannot be measured is left out, and said."""

from __future__ import annotations

import argparse
import asyncio
import itertools
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from bench.inference import load, over_http
from bench.inference.servers import Server
from tests.fakes import answers
from tests.fakes.answers import RESET, SeenRequest
from tests.fakes.upstream import FakeUpstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.fakes.answers import Answer, Step

CHAT = "/v1/chat/completions"
PER_ROUND = 3  # requests of the phase `first`


@pytest.fixture
def server() -> Iterator[Callable[[str, Answer], Server]]:
    """Makes servers that give every chat request one answer."""
    with ExitStack() as stack:

        def make(name: str, answer: Answer) -> Server:
            upstream = stack.enter_context(FakeUpstream())
            upstream.answer(CHAT, answer)
            return Server(name, upstream.url, "m1")

        yield make


def told(*words: str, tokens: int | None) -> Answer:
    """A stream of these words; its usage comes at its end, where it comes at all."""
    events = answers.chat_events("m1", words)
    usage = [] if tokens is None else [answers.event({"choices": [], "usage": {"completion_tokens": tokens}})]
    return answers.sse([*events[:-1], *usage, events[-1]])


GOOD = told("MLX", " is", " fast.", tokens=3)


def all_but(failing: int, answer: Answer) -> Answer:
    """Good answers, but for one request, counted from 0."""
    numbers = itertools.count()

    def steps(request: SeenRequest) -> Iterable[Step]:
        return (answer if next(numbers) == failing else GOOD)(request)

    return steps


def options(*phases: str, **changes: Any) -> argparse.Namespace:
    usual = {"rounds": 1, "only": phases, "streams": (2,), "answer_tokens": 3, "long_tokens": 20}
    return argparse.Namespace(**{**usual, **changes})


def test_a_server_that_breaks_off_once_loses_that_figure_and_nothing_else(
    server: Callable[[str, Answer], Server], capsys: pytest.CaptureFixture[str]
) -> None:
    breaking = server("breaking", all_but(PER_ROUND, answers.raw(answers.STREAM_HEAD, RESET)))
    servers = [server("ours", GOOD), breaking]
    measured = over_http.measure(servers, options("first", rounds=3))
    figures = measured["first token, repeated prompt, s"]
    assert {name: sorted(rounds) for name, rounds in figures.items()} == {
        "ours": [0, 1, 2],
        "breaking": [0, 2],
    }
    (left_out,) = [line for line in capsys.readouterr().out.splitlines() if "left out" in line]
    assert left_out.startswith("round 2  breaking")
    assert "left out: ReadError" in left_out


def test_a_server_that_is_gone_has_empty_cells(
    server: Callable[[str, Answer], Server], capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeUpstream() as upstream:
        gone = Server("gone", upstream.url, "m1")
    measured = over_http.measure([server("ours", GOOD), gone], options("rates", "shared", "mixed"))
    rows = over_http.table(measured, ["ours", "gone"]).splitlines()[2:]
    assert len(rows) == 11
    assert all(row.endswith(" |  |  |") for row in rows)
    assert capsys.readouterr().out.count("left out: ConnectError") == 3


def test_an_answer_without_a_token_gives_no_figure(server: Callable[[str, Answer], Server]) -> None:
    silent = server("silent", told(tokens=0))
    with pytest.raises(load.NoFigureError, match="2 of 2 answers came without a token"):
        asyncio.run(load.at_once(silent, 2, "here", answer_tokens=3))
    with pytest.raises(load.NoFigureError, match="without a token"):
        asyncio.run(load.first_tokens(silent, "here"))


def test_there_is_no_rate_of_a_server_that_does_not_count(
    server: Callable[[str, Answer], Server], capsys: pytest.CaptureFixture[str]
) -> None:
    uncounted = server("ours", told("MLX", " is", " fast.", tokens=None))
    measured = over_http.measure([uncounted], options("rates"))
    assert "2 streams, tok/s" not in measured
    assert measured["2 streams, first token p50, s"]["ours"][0] > 0
    (left_out,) = [line for line in capsys.readouterr().out.splitlines() if "left out" in line]
    assert "2 streams, tok/s" in left_out
    assert left_out.endswith("its answers do not say")


def test_an_error_within_a_stream_is_given_as_the_reason(server: Callable[[str, Answer], Server]) -> None:
    failing = answers.sse([answers.event({"error": {"message": "out of memory"}})])
    with pytest.raises(load.NoFigureError, match="out of memory"):
        asyncio.run(load.at_once(server("ours", failing), 1, "here", answer_tokens=3))


@pytest.mark.timeout(60)
def test_a_gap_needs_answers_that_last(server: Callable[[str, Answer], Server]) -> None:
    with pytest.raises(load.NoFigureError, match="over before a long prompt could come"):
        asyncio.run(load.gap(server("ours", GOOD), "here", long_tokens=20))


@pytest.mark.timeout(60)
def test_a_server_that_breaks_an_answer_beside_a_long_prompt_has_no_gap(
    server: Callable[[str, Answer], Server], capsys: pytest.CaptureFixture[str]
) -> None:
    words = [" on"] * (load.GAP_WARM_UP_CHUNKS - 1)  # one less than the long prompt waits for
    breaking = answers.sse(answers.chat_events("m1", words)[:-2], end=(RESET,))
    assert not over_http.measure([server("ours", breaking)], options("gap"))
    assert "left out: ReadError" in capsys.readouterr().out


def test_ratios_are_of_the_same_round() -> None:
    measured: over_http.Figures = {"tok/s": {"ours": {0: 10.0, 1: 30.0}, "other": {1: 10.0, 2: 1000.0}}}
    (row,) = over_http.table(measured, ["ours", "other"]).splitlines()[2:]
    assert row == "| tok/s | 20 | 505 | 3.00 |"
    assert over_http.by_round(measured, 3) == {
        "tok/s": {"ours": [10.0, 30.0, None], "other": [None, 10.0, 1000.0]}
    }
