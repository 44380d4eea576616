"""A fake upstream as a process of its own, which a test can kill, stop and start again for real.

`python -m tests.fakes.backend PORT` listens, and reads how to answer from its standard input, a word a line.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.ports import free_port
from tests.fakes import answers
from tests.fakes.answers import Pause
from tests.fakes.upstream import FakeUpstream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.fakes.answers import SeenRequest, Step

ROOT = Path(__file__).resolve().parent.parent.parent
PATH = "/v1/chat/completions"
SLOW_SECONDS = 0.3
STREAM_PAUSE_SECONDS = 0.02


@dataclass(slots=True)
class Backend:
    """The process, as a test sees it. It keeps its port over every death."""

    process: subprocess.Popen[str]
    port: int

    @classmethod
    def started(cls, port: int | None = None) -> Backend:
        port = port or free_port()
        command = [sys.executable, "-m", "tests.fakes.backend", str(port)]
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        return cls(process, port)

    def answers(self, how: str) -> None:
        """`well`, `slow` or `error`, from when this returns."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{how}\n")
        assert self.process.stdout.readline() == f"{how}\n"

    def hang(self) -> None:
        """Its connections stay open, and nothing in it moves."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def restart(self) -> None:
        self.process = Backend.started(self.port).process


def well(request: SeenRequest) -> Iterable[Step]:
    """A stream takes its time, so that it can be broken off in the middle."""
    for step in answers.chat(request):
        yield step
        if request.json().get("stream"):
            yield Pause(STREAM_PAUSE_SECONDS)


def slowly(request: SeenRequest) -> Iterable[Step]:
    yield Pause(SLOW_SECONDS)
    yield from well(request)


def main() -> None:
    how = {"well": well, "slow": slowly, "error": answers.error(503, "overwhelmed")}
    upstream = FakeUpstream()
    upstream.port = int(sys.argv[1])
    with upstream:
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        for line in sys.stdin:
            upstream.answer(PATH, how[line.strip()])
            sys.stdout.write(line)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
