"""The whole product in a subprocess, as a person starts it: `manage.py serve` in a home of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from django.conf import settings

from bench.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent.parent
READY_SECONDS = 180  # a start takes seconds, but for a machine on which much else starts
STOP_SECONDS = 90
CHAT_MODEL = "SmolLM2-135M-Instruct"
EMBEDDING_MODEL = "all-MiniLM-L6-v2"


@dataclass
class Gateway:
    """A running gateway. `environment` chooses its database and broker; `options` go to `manage.py serve`."""

    environment: dict[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    home: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="olla-e2e-")))
    port: int = field(default_factory=free_port)
    model_port: int = field(default_factory=free_port)
    process: subprocess.Popen[str] | None = None
    printed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """What every home would compile anew, and never changes, is kept for all in the one of this run."""
        for name in ("cache", "locale"):
            kept = settings.OLLA_HOME / name
            kept.mkdir(exist_ok=True)
            if not (self.home / name).exists():
                (self.home / name).symlink_to(kept)

    def __enter__(self) -> Gateway:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        try:
            self.stop()
        except subprocess.TimeoutExpired:  # or it would go on beside all tests that follow
            self.process.kill()
            raise

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        """Everything that it has printed so far, standard output and error together."""
        return "".join(self.printed)

    def start(self) -> None:
        command = [sys.executable, str(ROOT / "manage.py"), "serve", "--port", str(self.port)]
        command += ["--model-port", str(self.model_port), *self.options]
        self.process = subprocess.Popen(
            command, env=self._variables(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()

    def begin(self, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        """A further process of `manage.py` with the database and broker of this one."""
        command = [sys.executable, str(ROOT / "manage.py"), *arguments]
        return subprocess.Popen(command, env={**self._variables(), **variables}, stderr=subprocess.DEVNULL)

    def manage(self, *arguments: str) -> None:
        """Run a command of `manage.py` in its home."""
        command = [sys.executable, str(ROOT / "manage.py"), *arguments]
        subprocess.run(command, env=self._variables(), stdout=subprocess.DEVNULL, check=True)

    @contextlib.contextmanager
    def celery(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """One more worker or beat of it, in a process of its own."""
        command = [sys.executable, "-m", "celery", "--app", "ollaproject", *arguments]
        process = subprocess.Popen(command, env=self._variables(), cwd=ROOT, stdout=subprocess.DEVNULL)
        try:
            yield process
        finally:
            process.kill()
            process.wait(STOP_SECONDS)

    def beside(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command of `manage.py` in its home, and let it run."""
        command = [sys.executable, str(ROOT / "manage.py"), *arguments]
        return subprocess.Popen(command, env=self._variables(), stderr=subprocess.DEVNULL)

    def _variables(self) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")
        }
        return kept | {"OLLA_HOME": str(self.home), "PYTHONUNBUFFERED": "1", **self.environment}

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self.printed.append(line)

    def wait_until_ready(self) -> None:
        """Until it has printed its last line: the model answers through the gateway."""
        eventually(
            lambda: "Ctrl-C stops everything" in self.output, within=READY_SECONDS, what=lambda: self.output
        )

    def wait_until_it_serves(self) -> None:
        """Until its pages are there, whether or not a model is."""
        eventually(lambda: "Dashboard" in self.output, within=READY_SECONDS, what=lambda: self.output)

    def password(self) -> str:
        found = re.search(r"Sign in as admin with the password (\S+)", self.output)
        assert found, self.output
        return found[1]

    def client(self, **kwargs: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False, **kwargs)

    @contextlib.contextmanager
    def signed_in(self) -> Iterator[httpx.Client]:
        """A browser's session of the first administrator."""
        with self.client(follow_redirects=True) as client:
            client.get("/login/")
            token = client.cookies["olla_csrf"]
            form = {"username": "admin", "password": self.password(), "csrfmiddlewaretoken": token}
            response = client.post("/login/?next=/", data=form)
            assert response.status_code == httpx.codes.OK
            assert "olla_session" in client.cookies
            yield client

    def processes(self) -> dict[str, int]:
        """Its processes by name, with their ids."""
        assert self.process is not None
        found = subprocess.run(
            ["ps", "-A", "-ww", "-o", "pid=", "-o", "ppid=", "-o", "args="],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        words = {
            "web": "ollaproject.web",
            "worker": " worker ",
            "beat": " beat ",
            "models": " serve_models",
        }
        running = {
            int(pid): (int(parent), arguments)
            for pid, parent, arguments in (line.split(None, 2) for line in found)
        }
        # A model may have outlived the supervisor that started it: the file says who it is.
        files = [json.loads(path.read_text()) for path in self.home.glob("run/model-*.json")]
        models = [("model", file["pid"]) for file in files if file["pid"] in running]
        return dict(models) | {
            name: pid
            for pid, (parent, arguments) in running.items()
            for name, word in words.items()
            if word in f"{arguments} " and self.process.pid in (parent, running.get(parent, (0, ""))[0])
        }

    def stop(self, number: int = signal.SIGINT) -> int:
        """Stop it as Ctrl-C does, and return its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)


def eventually(
    true: Callable[[], object], *, within: float, what: Callable[[], object] = lambda: ""
) -> float:
    """Wait until `true()` is, and return how many seconds it took. For what happens in other processes."""
    started = time.monotonic()
    while not true():
        waited = time.monotonic() - started
        assert waited < within, f"not within {within} s: {what()}"
        time.sleep(0.05)
    return time.monotonic() - started


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout
    return bool(state.strip()) and not state.strip().startswith("Z")


def dead(pid: int) -> bool:
    return not alive(pid)
