"""The model server at a Unix socket: the file that it makes, replaces, guards and takes away again."""

from __future__ import annotations

import signal
import socket
import stat
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from inference import server_arguments
from inference.socket_file import listening_at
from tests.inference.test_serve_model import DEADLINE_SECONDS, ends, serve_model, statuses_until_healthy

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path


def bind(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    return made


def wait_until_listening(path: Path, process: subprocess.Popen[str]) -> None:
    """httpx leaves a socket open each time that it finds nobody."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX) as trial:
            if trial.connect_ex(str(path)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nobody listens, exit code {process.poll()}")


@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_its_file_has_the_permissions_that_were_wanted_and_goes_in_the_end(
    socket_path: Path, mode: int
) -> None:
    with listening_at(socket_path, mode=mode, backlog=5):
        assert stat.S_IMODE(socket_path.stat().st_mode) == mode
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(socket_path))
    assert not socket_path.exists()


def test_what_a_dead_server_left_is_replaced(socket_path: Path) -> None:
    bind(socket_path).close()
    with listening_at(socket_path, mode=0o600, backlog=5), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(socket_path))


@pytest.mark.parametrize("backlog", [5, 0])
def test_a_server_that_listens_is_left_alone(socket_path: Path, backlog: int) -> None:
    with bind(socket_path) as other, socket.socket(socket.AF_UNIX) as client:
        other.listen(backlog)
        client.connect(str(socket_path))  # with a backlog of 0 nobody else gets in
        with (
            pytest.raises(OSError, match="another server listens there"),
            listening_at(socket_path, mode=0o600, backlog=5),
        ):
            pass
        assert socket_path.exists()


def test_a_file_of_another_kind_is_left_alone(socket_path: Path) -> None:
    socket_path.write_text("mine")
    with pytest.raises(OSError, match="no socket"), listening_at(socket_path, mode=0o600, backlog=5):
        pass
    assert socket_path.read_text() == "mine"


def test_the_file_of_whoever_came_after_is_left_alone(socket_path: Path) -> None:
    with listening_at(socket_path, mode=0o600, backlog=5):
        socket_path.rename(socket_path.with_name("old.sock"))  # so that its number is not given again
        after = bind(socket_path)
    with after:
        assert socket_path.exists()


@pytest.mark.parametrize("words", [["--uds-mode", "rw"], ["--uds-mode", "0999"], ["--uds", "/run/x.sock"]])
def test_options_that_make_no_sense_are_refused(words: list[str]) -> None:
    with pytest.raises(server_arguments.Unreadable):
        server_arguments.check(words)  # beside a port


def test_it_serves_there_and_nobody_else_may_open_it(tiny_folder: Path, socket_path: Path) -> None:
    process = serve_model(str(tiny_folder), "--uds", str(socket_path), "--served-model-name", "mine")
    transport = httpx.HTTPTransport(uds=str(socket_path))
    try:
        wait_until_listening(socket_path, process)
        with httpx.Client(transport=transport, base_url="http://localhost", timeout=60) as client:
            statuses_until_healthy(process, client)
            assert stat.S_IMODE(socket_path.stat().st_mode) == 0o600
            body = {"model": "mine", "prompt": "On and on", "max_tokens": 4, "ignore_eos": True}
            answer = client.post("/v1/completions", json=body).json()
            assert answer["usage"]["completion_tokens"] == 4
        process.send_signal(signal.SIGTERM)
        code, errors = ends(process)
    finally:
        process.kill()
        process.communicate()
    assert (code, "Traceback" in errors) == (0, False), errors
    assert not socket_path.exists()


def test_a_place_that_is_taken_is_one_sentence_and_1(tiny_folder: Path, socket_path: Path) -> None:
    with bind(socket_path) as other:
        other.listen()
        process = serve_model(str(tiny_folder), "--uds", str(socket_path))
        _, errors = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 1
    assert f"{socket_path} cannot be listened on: another server listens there." in errors
