"""What the load is put on: the stub itself, nginx, the gateway as `manage.py serve` runs it, and peers."""

from __future__ import annotations

import contextlib
import getpass
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bench.ports import free_port
from bench.proxy import machine, processes, programs
from bench.proxy.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator

DIRECT, NGINX, GATEWAY = "direct", "nginx", "gateway"
ROOT = Path(__file__).resolve().parent.parent.parent
GATEWAY_START_SECONDS = 120.0
NGINX_START_SECONDS = 10.0
PEER_SECONDS = 60.0
IMPORT_SECONDS = 60.0

# One worker, nothing but passing on, nothing logged: the least that a proxy can cost.
NGINX_CONFIGURATION = """\
daemon off;
{user}
worker_processes 1;
worker_rlimit_nofile 8192;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log warn;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_body_buffer_size 64k;
    keepalive_requests 1000000000;
    upstream stub {{ server 127.0.0.1:{stub_port}; keepalive 1024; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://stub;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_buffering off;
        }}
    }}
}}
"""

# Everything as an operator would have it, but for a concurrency that is not the subject here.
ENDPOINTS = """\
endpoints:
  - url: "http://127.0.0.1:{stub_port}"
    name: "stub"
    type: "vllm-mlx"
    model_url: "/v1/models"
    health_check_url: "/health"
    check_interval: 5s
    check_timeout: 2s
    max_concurrent: 4096
"""


@dataclass(frozen=True, slots=True)
class Target:
    """Something to measure. `root` is the process whose tree is accounted to it, None when there is none."""

    name: str
    url: str
    root: int | None = None

    def pids(self) -> tuple[int, ...]:
        return processes.tree(self.root) if self.root is not None else ()


@contextlib.contextmanager
def nginx(stub_port: int, *, folder: Path, cpu: int | None) -> Iterator[Target]:
    home = folder / "nginx"
    home.mkdir()
    port = free_port()
    # As root nginx would run its worker as somebody else, who may not enter our folder.
    user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""
    file = home / "nginx.conf"
    file.write_text(NGINX_CONFIGURATION.format(folder=home, user=user, port=port, stub_port=stub_port))
    log = home / "output.log"
    command = [machine.nginx_path(), "-p", str(home), "-c", str(file), "-e", str(home / "nginx-error.log")]
    with programs.started(command, log=log, cpu=cpu) as process:
        url = f"http://127.0.0.1:{port}"
        programs.wait_until(
            lambda: not programs.trouble(url), process=process, log=log, seconds=NGINX_START_SECONDS
        )
        yield Target(NGINX, url, process.pid)


@contextlib.contextmanager
def gateway(stub_port: int, *, folder: Path, cpu: int | None) -> Iterator[Target]:
    """The whole product in a home of its own; its web process, one, is what is measured and pinned.

    The worker and beat run beside it wherever the scheduler puts them, and check the stub every 5 s.
    """
    home = folder / "gateway"
    home.mkdir()
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("OLLA_") and name not in ("DATABASE_URL", "REDIS_URL")
    }
    environment["OLLA_HOME"] = str(home)
    port = free_port()
    manage = [sys.executable, str(ROOT / "manage.py")]
    log = folder / "gateway.log"
    serve = [*manage, "serve", "--gateway-only", "--port", str(port)]
    with programs.started(serve, log=log, environment=environment, stop_signal=signal.SIGINT) as process:
        ready = GATEWAY_START_SECONDS
        programs.wait_until(
            lambda: _web_process(process.pid) is not None, process=process, log=log, seconds=ready
        )
        _import_endpoints([*manage, "import_endpoints"], home, stub_port, environment)
        url = f"http://127.0.0.1:{port}/olla/vllm-mlx"
        programs.wait_until(lambda: not programs.trouble(url), process=process, log=log, seconds=ready)
        web = _web_process(process.pid)
        if web is None:
            raise BenchError("The gateway's web process ended; run `manage.py serve` to see why.")
        if cpu is not None:
            processes.pin(web, cpu)
        yield Target(GATEWAY, url, web)


def _web_process(serve: int) -> int | None:
    found = [pid for pid in processes.tree(serve) if "ollaproject.web" in processes.command_line(pid)]
    return found[0] if found else None


def _import_endpoints(command: list[str], home: Path, stub_port: int, environment: dict[str, str]) -> None:
    file = home / "endpoints.yaml"
    file.write_text(ENDPOINTS.format(stub_port=stub_port))
    done = subprocess.run(
        [*command, str(file)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=IMPORT_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise BenchError(f"The stub could not be added to the gateway:\n{done.stdout}{done.stderr}")


def peer(name: str, url: str) -> Target:
    """A proxy that somebody else started, and that must already have the stub as its backend."""
    deadline = time.monotonic() + PEER_SECONDS
    while trouble := programs.trouble(url):
        if time.monotonic() > deadline:
            raise BenchError(
                f"The peer {name} does not pass on the stub's answers: {trouble} "
                "It must have the stub as its backend: give the stub a fixed port with --stub-port."
            )
        time.sleep(1)
    return Target(name, url, processes.listener(urlsplit(url).port or 80))
