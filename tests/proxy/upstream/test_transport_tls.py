"""TLS to an upstream is verified, always."""

from __future__ import annotations

import ssl
import subprocess
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.proxy.asking import ask, transport

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.fakes.upstream import FakeUpstream

    Upstreams = Callable[..., FakeUpstream]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key in the same file."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=127.0.0.1",
    ]
    extra = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run([*command, *extra], check=True, capture_output=True)
    with path.open("ab") as file:
        file.write((path.parent / f"{path.name}.crt").read_bytes())
    return path


def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def test_a_trusted_certificate_is_accepted(upstreams: Upstreams, certificate: Path) -> None:
    upstream = upstreams(tls=server_tls(certificate))
    async with transport(tls=ssl.create_default_context(cafile=str(certificate))) as over:
        assert (await ask(over, upstream, path="/health")).json()["status"] == "healthy"


async def test_an_unknown_certificate_is_refused(upstreams: Upstreams, certificate: Path) -> None:
    upstream = upstreams(tls=server_tls(certificate))
    async with transport() as over:
        with pytest.raises(httpx.ConnectError) as caught:
            await ask(over, upstream, path="/health")

    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
    assert not upstream.requests
