"""The benchmark's own measure: it counts what a server really answered, and only what was right."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bench.ports import free_port
from bench.proxy import chart, figures, load, phases, processes, programs, report
from bench.proxy.errors import BenchError
from bench.proxy.load import LoadResult, Spread
from bench.proxy.measure import Memory, Sample
from bench.proxy.phases import Phase
from bench.proxy.report import Findings
from tests.fakes import answers
from tests.fakes.upstream import FakeUpstream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the benchmark uses epoll and /proc"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="the benchmark needs a C compiler"),
]

STREAMS = Phase("streams", connections=20, seconds=0.5, once=True, ramp_seconds=0.1, chunks_per_second=40)


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[str]:
    with programs.stub(0, folder=tmp_path, cpu=None) as (port, _):
        yield f"http://127.0.0.1:{port}"


def test_it_counts_every_plain_answer(stub: str) -> None:
    result = load.run(stub, Phase("plain", connections=4, seconds=0.2), cpu=None)
    assert result.answers > 10
    assert (result.errors, result.unfinished, result.chunks) == (0, 0, 0)
    assert 0 < result.latency.p50 <= result.latency.p99 <= result.latency.max


def test_it_counts_every_chunk_of_every_stream(stub: str) -> None:
    result = load.run(stub, STREAMS, cpu=None)
    assert (result.answers, result.errors, result.unfinished) == (20, 0, 0)
    assert result.chunks == 20 * STREAMS.chunks
    assert 0 < result.lag.p50 < result.latency.p50


def test_it_takes_the_time_that_the_chunks_need(stub: str) -> None:
    result = load.run(stub, STREAMS, cpu=None)
    between_chunks = (STREAMS.chunks - 1) / STREAMS.chunks_per_second
    assert result.latency.p50 >= between_chunks * 1e6


def test_an_error_status_is_no_answer(tmp_path: Path) -> None:
    with FakeUpstream() as upstream:
        url = f"{upstream.url}/nothing/here"
        result = load.run(url, Phase("plain", connections=1, seconds=0.2, once=True), cpu=None)
    assert (result.answers, result.errors) == (0, 1)
    assert "404" in result.first_error


def test_a_stream_that_is_cut_is_no_answer() -> None:
    with FakeUpstream() as upstream:
        events = answers.chat_events("bench-model", ["a", "b"])[:-1]
        upstream.answer(load.CHAT_PATH, answers.sse(events, end=[answers.CLOSE]))
        result = load.run(upstream.url, replace(STREAMS, connections=1), cpu=None)
    assert (result.answers, result.errors, result.first_error) == (
        0,
        1,
        "it closed in the middle of an answer",
    )


def test_a_stream_without_done_is_no_answer() -> None:
    with FakeUpstream() as upstream:
        upstream.answer(load.CHAT_PATH, answers.sse(answers.chat_events("bench-model", ["a", "b"])[:-1]))
        result = load.run(upstream.url, replace(STREAMS, connections=1), cpu=None)
    assert (result.answers, result.errors, result.first_error) == (0, 1, "a stream ended without [DONE]")


def test_nobody_there_is_a_sentence() -> None:
    port = free_port()
    with pytest.raises(BenchError, match=f"against http://127.0.0.1:{port}: .*refused"):
        load.run(f"http://127.0.0.1:{port}", Phase("plain", connections=1, seconds=0.2), cpu=None)


def test_it_finds_who_listens(stub: str, tmp_path: Path) -> None:
    pid = processes.listener(int(stub.rpartition(":")[2]))
    assert pid is not None
    assert "stub" in processes.command_line(pid)
    assert pid in processes.tree(os.getpid())


def test_cpu_time_is_that_of_the_work(stub: str) -> None:
    pid = processes.listener(int(stub.rpartition(":")[2]))
    assert pid is not None
    before = processes.cpu_seconds((pid,))
    load.run(stub, Phase("plain", connections=4, seconds=0.2), cpu=None)
    assert 0 < processes.cpu_seconds((pid,)) - before < 0.5


def result(p50: float, answers: int = 100) -> LoadResult:
    spread = Spread(p50, p50 * 2, p50 * 3)
    return LoadResult(1.0, answers, 100, 0, 0, "", 0.1, spread, spread, spread)


def samples(phase: str, p50s: dict[str, list[float]]) -> list[Sample]:
    return [
        Sample(round_, phase, target, result(p50), cpu_seconds=0.5, driver_share=0.1, foreign_share=0)
        for target, values in p50s.items()
        for round_, p50 in enumerate(values, 1)
    ]


def test_what_is_added_is_compared_within_a_round() -> None:
    # The second round ran on a slower machine: both ways were slower, what was added was the same.
    lines = figures.summarise(samples("plain-1", {"direct": [10, 50, 10], "nginx": [30, 70, 30]}))
    added = {line.target: line.added_p50 for line in lines}
    assert added == {"direct": None, "nginx": 20}


def test_an_aim_is_a_ratio_to_nginx() -> None:
    found = samples("plain-1", {"direct": [10], "nginx": [20], "gateway": [35]})
    aim = figures.aims(figures.summarise(found), [])[0]
    assert (aim.what, aim.reached, aim.met) == ("added p50 at 1 connection", 2.5, False)


def test_a_missing_answer_misses_the_aim() -> None:
    found = samples("plain-1", {"gateway": [35]})
    found[0] = replace(found[0], result=replace(found[0].result, unfinished=1))
    assert not figures.aims(figures.summarise(found), [])[-1].met


def test_a_machine_that_was_not_quiet_is_told() -> None:
    found = samples("plain-1", {"gateway": [35, 35, 35]})
    found[1] = replace(found[1], foreign_share=0.25)
    assert figures.disturbance(found) == "took 0% of the target's CPU (median), at most 25%"


def test_memory_that_grows_is_seen() -> None:
    mib = 1024**2
    notes = [Memory(number, "gateway", size * mib) for number, size in enumerate([90, 110, 130])]
    [footprint] = figures.footprints(notes)
    assert (footprint.at_rest, footprint.after_first, footprint.after_last) == (90, 110, 130)
    grown = {aim.what: aim.met for aim in figures.aims([], [footprint])}
    assert grown["memory after the run"]
    assert not grown["memory grown since round 1"]


def test_the_report_and_the_picture_name_every_target() -> None:
    found = samples("plain-1", {"direct": [10], "nginx": [20], "gateway": [35]})
    lines = figures.summarise(found)
    findings = Findings(
        machine={"CPU": "a <CPU>", "run": "today"},
        targets={"direct": "http://d", "nginx": "http://n", "gateway": "http://g"},
        samples=found,
        memory=[],
        figures=lines,
        footprints=[],
        aims=figures.aims(lines, []),
        troubles=[],
    )
    printed = report.text(findings)
    assert [line.split("|")[2].strip() for line in printed.splitlines() if "| plain-1" in line] == [
        "direct",
        "nginx",
        "gateway",
    ]
    drawn = chart.svg(findings)
    assert ">nginx</text>" in drawn
    assert ">gateway</text>" in drawn
    assert "a &lt;CPU&gt;" in drawn


def test_a_phase_is_chosen_by_its_whole_name() -> None:
    assert [phase.name for phase in phases.chosen(["plain-1"], quick=True)] == ["plain-1"]


def test_phases_are_chosen_by_the_start_of_their_names() -> None:
    assert [phase.name for phase in phases.chosen(["slow", "first"], quick=False)] == [
        "first-token",
        "slow-200",
        "slow-1000",
    ]
