"""The machine of the run: which CPU does what, how many files may be open, what to print about it."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from bench.proxy.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator

TARGET_CPU, DRIVER_CPU = 0, 1
FILES_NEEDED = 8192
PACKAGES = ("django", "channels", "uvicorn", "uvloop", "httptools", "httpx")


@dataclass(frozen=True, slots=True)
class Layout:
    """Which CPU the target has, and which one the stub and the load generator share. None: no pinning."""

    target: int | None
    driver: int | None

    def in_words(self) -> str:
        if self.target is None:
            return "one CPU for everything, nothing pinned: the figures also show who got it"
        return f"target on CPU {self.target}, stub and load generator on CPU {self.driver}"


def layout() -> Layout:
    """Pinned when there are two CPUs or more. Raises BenchError elsewhere than on Linux."""
    if sys.platform != "linux":
        raise BenchError("This benchmark reads /proc and uses epoll: it runs on Linux only.")
    if not {TARGET_CPU, DRIVER_CPU} <= os.sched_getaffinity(0):
        return Layout(target=None, driver=None)
    return Layout(target=TARGET_CPU, driver=DRIVER_CPU)


@contextlib.contextmanager
def on_cpu(cpu: int | None) -> Iterator[None]:
    """What is started inside inherits this CPU; the benchmark itself goes back to where it was."""
    if cpu is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def allow_many_files() -> None:
    """1,000 streams are 2,000 sockets of a proxy. What is started from here inherits the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_NEEDED if hard == resource.RLIM_INFINITY else min(FILES_NEEDED, hard)
    if wanted < FILES_NEEDED:
        raise BenchError(
            f"1,000 streams need {FILES_NEEDED} open files and the limit here is {hard}. "
            f"Raise it: ulimit -Hn {FILES_NEEDED}"
        )
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def description() -> dict[str, str]:
    """What a reader must know to judge the figures."""
    packages = ", ".join(f"{name} {found}" for name in PACKAGES if (found := _version(name)))
    return {
        "CPU": f"{_cpu_model()}, {os.cpu_count()} cores",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_version()}, {packages}",
        "nginx": _nginx_version() or "not installed",
        "pinning": layout().in_words(),
    }


def nginx_path() -> str:
    """Where nginx is, or nothing. Debian keeps it where only root looks."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin") or ""


def _nginx_version() -> str:
    nginx = nginx_path()
    if not nginx:
        return ""
    said = subprocess.run([nginx, "-v"], capture_output=True, text=True, check=False).stderr
    return said.strip().rpartition("/")[2]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _cpu_model() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()
