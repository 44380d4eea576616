"""Real Redis and PostgreSQL servers for tests: each in a temporary folder and on a free loopback port."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from bench.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

START_SECONDS = 90
POSTGRES_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
)


def missing(what: str) -> NoReturn:
    """Skip by name on a person's machine; fail where everything is supposed to be there."""
    reason = f"{what} is not installed; see `make services`"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port}; the server's exit code is {process.poll()}")


@contextlib.contextmanager
def redis_server(port: int | None = None) -> Iterator[str]:
    """The URL of a fresh Redis, on a free port unless one is given."""
    binary = shutil.which("redis-server") or missing("redis-server")
    port = port or free_port()
    with tempfile.TemporaryDirectory(prefix="olla-redis-") as folder:
        command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            wait_for_port(port, process)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.wait(10)


@contextlib.contextmanager
def postgres_server() -> Iterator[str]:
    """The URL of a fresh PostgreSQL. It refuses to run as root, so root runs it as the user postgres."""
    binaries = _postgres_binaries()
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="olla-postgres-"))
    prefix: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
        prefix = ["runuser", "-u", "postgres", "--"]
    data = folder / "data"

    def run(command: list[str | Path]) -> None:
        # Without a locale, macOS would start threads to find one, which PostgreSQL refuses.
        environment = {"LANG": "C", **os.environ}
        words = [*prefix, *map(str, command)]
        subprocess.run(words, stdout=subprocess.DEVNULL, cwd=folder, env=environment, check=True)

    try:
        initdb: list[str | Path] = [
            binaries / "initdb",
            "-D",
            data,
            "-U",
            "olla",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
        ]
        run(initdb)
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        start: list[str | Path] = [
            binaries / "pg_ctl",
            "-D",
            data,
            "-l",
            folder / "log",
            "-w",
            "-o",
            options,
            "start",
        ]
        run(start)
        try:
            yield f"postgresql://olla@127.0.0.1:{port}/postgres"
        finally:
            stop: list[str | Path] = [binaries / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop"]
            run(stop)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _postgres_binaries() -> Path:
    if on_path := shutil.which("initdb"):
        return Path(on_path).parent
    for pattern in POSTGRES_FOLDERS:
        if found := sorted(Path("/").glob(pattern.lstrip("/"))):
            return found[-1]
    missing("PostgreSQL")
