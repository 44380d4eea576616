"""Endpoints at Unix sockets: what may be one, how it is checked, and how it goes in and out of files."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command

from endpoints import operations
from endpoints.choices import Status
from endpoints.files import exporting
from endpoints.health import detection
from endpoints.health.checking import check_target
from endpoints.health.probe import Checker
from endpoints.models import Change, Endpoint
from endpoints.pages.overview import card_of
from ollaproject.wire.socket_urls import MAX_PATH_BYTES, written
from tests.fakes import answers, servers
from tests.fakes.full_queue import full_queue, on_linux
from tests.fakes.upstream import FakeUpstream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from endpoints.health.findings import Finding
    from tests.endpoints.conftest import MakeEndpoint


@pytest.fixture
def upstream(socket_path: Path) -> Iterator[FakeUpstream]:
    """In place of the one at a port."""
    with FakeUpstream(models=("m1",), socket_path=socket_path) as running:
        yield running


def refusal(url: str, **fields: Any) -> str:
    """What is said against the URL of an endpoint that is right otherwise, empty when nothing is."""
    found: dict[str, list[str]] = {}
    try:
        Endpoint(name="mini-1", url=url, **fields).clean()
    except ValidationError as error:
        found = error.message_dict
    assert set(found) <= {"url"}
    return " ".join(found.get("url", []))


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("unix:run/x.sock", "A Unix socket is written like unix:/run/mlx/server.sock: by its absolute path"),
        ("unix:/run/a%20b.sock", "without %, ? and #"),
        ("unix:", "by its absolute path"),
        ("http+unix://run%2Fx.sock", "must be absolute"),
        ("http+unix:///run/x.sock", "each of its slashes written as %2F"),
        ("http+unix://%2Frun%2Fx.sock:80", "has no port"),
        ("http+unix://%2Frun%2Fx.sock?a=1", "must not have a query"),
        ("http+unix://%2Frun%2Fx.sock/llm", "not used unless “preserve path” is on"),
        ("https+unix://%2Frun%2Fx.sock", "must start with http:// or https://"),
        ("unix:/run/\nx.sock", "must be printable"),
        ("http+unix://%2Frun/\nx", "must not hold spaces"),
    ],
)
def test_it_refuses_a_socket_that_cannot_work(url: str, sentence: str) -> None:
    assert sentence in refusal(url)


def test_a_path_has_as_many_bytes_as_the_system_takes() -> None:
    longest = "/run/" + "é" * ((MAX_PATH_BYTES - 5) // 2)
    assert refusal(written(longest)) == ""
    said = refusal(written(longest + "xx"))
    assert f"has {len(os.fsencode(longest)) + 2} bytes, and this system takes {MAX_PATH_BYTES}" in said


def test_the_system_takes_a_path_of_that_length(socket_path: Path) -> None:
    path = str(socket_path) + "x" * (MAX_PATH_BYTES - len(str(socket_path)))
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as other:
        one.bind(path)
        with pytest.raises(OSError, match="too long"):
            other.bind(path + "x")


def test_a_file_and_a_folder_are_no_sockets(socket_path: Path) -> None:
    socket_path.write_text("")
    assert refusal(written(str(socket_path))).startswith(f"{socket_path} is no socket.")
    assert refusal(written(str(socket_path.parent))).startswith(f"{socket_path.parent} is no socket.")


def test_a_server_that_is_down_may_be_an_endpoint(socket_path: Path) -> None:
    assert refusal(written(str(socket_path))) == ""


async def found(endpoint: Endpoint) -> Finding:
    async with Checker() as checker:
        return await checker.check(check_target(endpoint), with_models=True)


async def test_a_check_asks_over_the_socket(upstream: FakeUpstream) -> None:
    finding = await found(Endpoint(name="a", url=upstream.url))
    assert (finding.result.status, finding.result.reason) == (Status.HEALTHY, "")
    assert [model.name for model in finding.models or ()] == ["m1"]
    assert {request.header("host") for request in upstream.requests} == {"localhost"}
    upstream.wait_for(lambda seen: seen.open_connections == 0)


async def test_a_check_asks_below_the_path_that_is_preserved(upstream: FakeUpstream) -> None:
    await found(Endpoint(name="a", url=f"{upstream.url}/llm", preserve_path=True))
    assert [request.path for request in upstream.requests] == ["/llm/health"]


async def test_a_health_check_elsewhere_may_be_at_another_socket(upstream: FakeUpstream) -> None:
    there = Endpoint(name="a", url="http://127.0.0.1:9", health_check_url=f"{upstream.url}/health?deep=1")
    there.clean()
    async with Checker() as checker:
        assert (await checker.probe(check_target(there))).status == Status.HEALTHY
    assert [request.path for request in upstream.requests] == ["/health?deep=1"]


async def test_why_a_socket_does_not_answer_is_said(socket_path: Path) -> None:
    endpoint = Endpoint(name="a", url=written(str(socket_path)))
    result = (await found(endpoint)).result
    assert (result.status, result.reason) == (
        Status.OFFLINE,
        "there is no socket at its path",
    )
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(socket_path))
    assert (await found(endpoint)).result.reason == "connection refused"


@on_linux
async def test_a_check_waits_for_a_server_that_accepts_nobody_without_work(socket_path: Path) -> None:
    endpoint = Endpoint(name="a", url=written(str(socket_path)), check_timeout_seconds=1)
    with full_queue(socket_path):
        before = time.thread_time()
        result = (await found(endpoint)).result
        worked = time.thread_time() - before
    assert (result.status, result.reason) == (Status.OFFLINE, "no answer within 1s")
    assert worked < 0.2


async def test_a_server_that_hangs_up_at_a_socket(upstream: FakeUpstream) -> None:
    upstream.answer("/health", answers.raw(answers.CLOSE))
    result = (await found(Endpoint(name="a", url=upstream.url))).result
    assert result.reason == "it closed the connection without an answer, or does not speak HTTP"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may connect to every socket")
def test_a_socket_that_belongs_to_others(upstream: FakeUpstream, socket_path: Path) -> None:
    socket_path.chmod(0)
    result = asyncio.run(found(Endpoint(name="a", url=upstream.url))).result
    assert result.reason == "this process may not connect to it"


def test_a_type_is_detected_over_the_socket(upstream: FakeUpstream) -> None:
    upstream.become(servers.ollama())
    assert detection.detect(Endpoint(name="a", url=upstream.url)).type == "ollama"


def test_a_stored_credential_goes_to_no_other_socket(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint(url="unix:/run/A/x.sock", auth_kind="bearer", credential="tok-3c1d")
    endpoint.url = "unix:/run/A/x.sock:/llm"
    endpoint.preserve_path = True
    endpoint.full_clean()
    for elsewhere in ("unix:/run/a/x.sock", "http://localhost"):
        endpoint.url = elsewhere
        with pytest.raises(ValidationError, match="was not entered for"):
            endpoint.full_clean()


def test_whole_hosts_take_sockets_for_this_one(make_endpoint: MakeEndpoint) -> None:
    here = [make_endpoint(url="unix:/run/x.sock"), make_endpoint(url="http://localhost:8000")]
    make_endpoint(url="http://mini.local:8000")
    assert operations.on_host("localhost") == here


def test_a_card_has_its_path(make_endpoint: MakeEndpoint) -> None:
    assert card_of(make_endpoint(url="unix:/run/x.sock"), default_priority=0).host == "unix:/run/x.sock"


@pytest.mark.django_db
def test_a_file_may_write_it_as_people_do(tmp_path: Path, upstream: FakeUpstream) -> None:
    path, out = tmp_path / "fleet.yaml", StringIO()
    text = f"endpoints:\n- url: unix:{upstream.socket_path}\n  type: auto\n"
    path.write_text(text)
    call_command("import_endpoints", str(path), stdout=out)

    endpoint = Endpoint.objects.get()
    assert (endpoint.name, endpoint.url, endpoint.type) == ("s.sock", upstream.url, "vllm-mlx")
    assert f"+ s.sock  unix:{upstream.socket_path}\n" in out.getvalue()
    assert Change.objects.get().differences == [f"unix:{upstream.socket_path}"]

    path.write_text(exporting.as_yaml())
    assert f"url: {upstream.url}\n" in path.read_text()
    for same in (path.read_text(), text):
        path.write_text(same)
        call_command("import_endpoints", str(path), check=True, prune=True, stdout=out)


@pytest.mark.django_db
def test_the_commands_work_with_it(upstream: FakeUpstream, make_endpoint: MakeEndpoint) -> None:
    make_endpoint(name="a", url=upstream.url)
    out = StringIO()
    call_command("check_endpoints", "a", stdout=out)
    assert "healthy" in out.getvalue()
