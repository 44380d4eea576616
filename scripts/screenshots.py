"""Pictures of every page, light and dark, desktop and phone: `python scripts/screenshots.py [FOLDER]`.

A real server on a free port, with a home of its own and an example fleet in different states, seen by
Debian's Chromium. `make screenshots` runs it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from endpoints.models import Endpoint

Scheme = Literal["light", "dark"]

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
USER, PASSWORD = "ada", "a-password-for-pictures"
START_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Example:
    """An endpoint of the example fleet. `age_seconds` is how long it has been in its status."""

    name: str
    host: str
    status: str
    reason: str
    age_seconds: int
    latency_seconds: float | None
    models: tuple[str, ...]
    mode: str = "active"
    type: str = "vllm-mlx"
    interval_seconds: float = 5


FLEET = (
    Example(
        name="mac-studio-1",
        host="192.168.1.20:8000",
        status="healthy",
        reason="",
        age_seconds=3 * 86400 + 4 * 3600,
        latency_seconds=0.009,
        models=(
            "mlx-community/Llama-3.3-70B-Instruct-4bit",
            "mlx-community/Qwen3-30B-A3B-4bit",
            "mlx-community/Qwen3-Embedding-0.6B-4bit",
            "mlx-community/gemma-3-27b-it-4bit",
            "mlx-community/whisper-large-v3-turbo",
        ),
    ),
    Example(
        name="mac-mini-1",
        host="192.168.1.31:8000",
        status="healthy",
        reason="",
        age_seconds=7 * 3600 + 12 * 60,
        latency_seconds=0.012,
        models=("mlx-community/Llama-3.2-3B-Instruct-4bit",),
    ),
    Example(
        name="mac-mini-2",
        host="192.168.1.32:8000",
        status="offline",
        reason="connection refused",
        age_seconds=4 * 60 + 11,
        latency_seconds=None,
        models=("mlx-community/Llama-3.2-3B-Instruct-4bit",),
    ),
    Example(
        name="mac-mini-3",
        host="192.168.1.33:8000",
        status="warming",
        reason="the model is loading",
        age_seconds=19,
        latency_seconds=0.031,
        models=("mlx-community/Qwen3-8B-4bit",),
        interval_seconds=2,
    ),
    Example(
        name="rack-gateway",
        host="llm.example.net",
        status="healthy",
        reason="",
        age_seconds=26 * 60,
        latency_seconds=0.048,
        models=("openai/gpt-oss-120b", "Qwen/Qwen3-Coder-30B-A3B-Instruct"),
        mode="draining",
        type="openai-compatible",
        interval_seconds=30,
    ),
)


def fill(examples: tuple[Example, ...]) -> None:
    """Rows as the checks would have written them."""
    from endpoints.models import Endpoint, EndpointHealth  # noqa: PLC0415 - Django is set up by then

    for example in examples:
        scheme = "https" if example.type == "openai-compatible" else "http"
        endpoint = Endpoint(
            name=example.name,
            url=f"{scheme}://{example.host}",
            type=example.type,
            mode=example.mode,
            check_interval_seconds=example.interval_seconds,
            check_timeout_seconds=1.5,
        )
        endpoint.full_clean()
        endpoint.save()
        EndpointHealth.objects.filter(endpoint=endpoint).update(status=example.status, reason=example.reason)
        add_history(endpoint, example)


def add_history(endpoint: Endpoint, example: Example) -> None:
    from endpoints.models import EndpointHealth, EndpointModel, HealthCheck, Transition  # noqa: PLC0415
    from ollaproject.wire.clock import now  # noqa: PLC0415

    at = now()
    since = at - timedelta(seconds=example.age_seconds)
    EndpointHealth.objects.filter(endpoint=endpoint).update(
        since=since,
        latency_seconds=example.latency_seconds,
        checked_at=at,
        next_check_at=at + timedelta(seconds=5),
    )
    for name in example.models:
        EndpointModel.objects.create(
            endpoint=endpoint, name=name, created=0, first_seen_at=since, last_seen_at=at
        )
    Transition.objects.create(
        endpoint=endpoint, at=since, old_status="unknown", new_status=example.status, reason=example.reason
    )
    for number in range(20):
        HealthCheck.objects.create(
            endpoint=endpoint,
            at=at - timedelta(seconds=number * example.interval_seconds),
            status=example.status,
            reason=example.reason,
            latency_seconds=example.latency_seconds and example.latency_seconds * (1 + number % 5 / 10),
        )


def keep_checking(stop: threading.Event) -> None:
    """Move the times of the checks on, as a worker does, so that no page says that checks have stopped."""
    from django.db import connection  # noqa: PLC0415

    from endpoints import revision  # noqa: PLC0415
    from endpoints.models import EndpointHealth  # noqa: PLC0415
    from ollaproject.wire.clock import now  # noqa: PLC0415

    while not stop.wait(0.5):
        for health in EndpointHealth.objects.select_related("endpoint").filter(next_check_at__lt=now()):
            interval = timedelta(seconds=health.endpoint.check_interval_seconds)
            EndpointHealth.objects.filter(pk=health.pk).update(
                checked_at=health.next_check_at, next_check_at=health.next_check_at + interval
            )
            revision.bump(routing=False)
    connection.close()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


@contextmanager
def server() -> Iterator[str]:
    """The web process alone: no worker, no model."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "uvicorn", "ollaproject.asgi:application", "--port", str(port)]
    process = subprocess.Popen([*command, "--log-level", "warning"], cwd=ROOT)
    try:
        wait_for(f"{url}/login/")
        yield url
    finally:
        process.terminate()
        process.wait(10)


def wait_for(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 - our own server
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def sign_in(page: Page, url: str) -> None:
    page.goto(f"{url}/login/")
    page.fill("#id_username", USER)
    page.fill("#id_password", PASSWORD)
    page.click("main button")
    page.wait_for_selector(".sentence")


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


def open_page(browser: Browser, *, size: str, scheme: Scheme) -> Page:
    width, height = SIZES[size]
    return browser.new_page(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        device_scale_factor=2 if size == "phone" else 1.5,
    )


def shoot_empty(browser: Browser, url: str, folder: Path) -> None:
    page = open_page(browser, size="desktop", scheme="light")
    sign_in(page, url)
    page.screenshot(path=folder / "dashboard-empty-desktop-light.png", full_page=True)
    page.close()


def shoot(browser: Browser, url: str, folder: Path, *, size: str, scheme: Scheme) -> None:
    """Every page in one size and one colour scheme."""
    page = open_page(browser, size=size, scheme=scheme)

    def picture(name: str, path: str | None = None) -> None:
        if path is not None:
            page.goto(url + path)
        page.wait_for_timeout(400)
        page.screenshot(path=folder / f"{name}-{size}-{scheme}.png", full_page=True)
        print(f"{name}-{size}-{scheme}.png")

    picture("sign-in", "/login/")
    page.fill("#id_username", USER)
    page.fill("#id_password", "wrong")
    page.click("main button")
    picture("sign-in-error")
    sign_in(page, url)
    page.wait_for_selector("#live[data-state=live]")
    picture("dashboard")
    page.click(".more summary")
    page.click(".menu summary")
    picture("dashboard-menu")
    picture("not-found", "/nothing-here/")
    picture("admin", "/admin/")
    picture("admin-list", "/admin/endpoints/endpoint/")
    page.goto(f"{url}/admin/endpoints/endpoint/")
    page.click("#result_list th.field-endpoint a >> nth=0")
    page.locator(".history summary").click()
    picture("admin-change")
    page.goto(f"{url}/admin/endpoints/endpoint/add/")
    page.fill("#id_name", "mac-mini-4")
    page.fill("#id_url", "ftp://192.168.1.34")
    page.fill("#id_check_interval_seconds", "often")
    page.click("input[name=_save]")
    picture("admin-error")
    page.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "docs" / "screenshots")
    folder: Path = parser.parse_args().folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    home = tempfile.mkdtemp(prefix="olla-screenshots-")
    os.environ |= {"OLLA_HOME": home, "DJANGO_SETTINGS_MODULE": "ollaproject.settings"}
    os.environ.pop("DATABASE_URL", None)
    sys.path.insert(0, str(ROOT))
    try:
        take_all(folder)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def take_all(folder: Path) -> None:
    import django  # noqa: PLC0415 - after the environment is set
    from django.core.management import call_command  # noqa: PLC0415

    django.setup()
    from django.contrib.auth.models import User  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    User.objects.create_superuser(USER, password=PASSWORD)
    with server() as url:
        with chromium() as browser:
            shoot_empty(browser, url, folder)
        fill(FLEET)
        stop = threading.Event()
        checking = threading.Thread(target=keep_checking, args=(stop,))
        checking.start()
        try:
            with chromium() as browser:
                for size, scheme in itertools.product(SIZES, SCHEMES):
                    shoot(browser, url, folder, size=size, scheme=scheme)
        finally:
            stop.set()
            checking.join()


if __name__ == "__main__":
    main()
