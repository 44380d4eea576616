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
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

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
    process = subprocess.Popen([sys.executable, "-m", "ollaproject.web", "--port", str(port)], cwd=ROOT)
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
        device_scale_factor=2 if size == "phone" else 1.25,
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
        file = folder / f"{name}-{size}-{scheme}.png"
        page.screenshot(path=file, full_page=True)
        print(file.name)

    picture("sign-in", "/login/")
    page.fill("#id_username", USER)
    page.fill("#id_password", "wrong")
    page.click("main button")
    picture("sign-in-error")
    sign_in(page, url)
    page.wait_for_selector("#live[data-state=live]")
    # Right after a start the day's latency comes in steps.
    for _ in range(7):
        page.goto(url)
    page.wait_for_selector("#live[data-state=live]")
    picture("dashboard")
    page.click(".more summary")
    page.click(".menu summary")
    picture("dashboard-menu")
    page.goto(url)
    page.click(".card[data-down=true] h2 a")
    page.wait_for_selector("#live[data-state=live]")
    picture("endpoint")
    picture("incidents", "/incidents/")
    picture("local-models", "/models/local/")
    page.get_by_role("link", name="Mistral-7B", exact=True).click()
    picture("local-model")
    picture("admin-local-models", "/admin/inference/localmodel/")
    page.get_by_role("link", name="Mistral-7B").click()
    picture("admin-local-model")
    picture("admin-local-model-add", "/admin/inference/localmodel/add/")
    picture("usage", "/usage/")
    picture("usage-everyone", "/usage/?of=all")
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
    import example_usage  # noqa: PLC0415
    from django.contrib.auth.models import User  # noqa: PLC0415
    from example_fleet import FLEET, fill, keep_checking  # noqa: PLC0415
    from example_models import fill_models  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    person = User.objects.create_superuser(USER, password=PASSWORD)
    with server() as url, chromium() as browser:
        shoot_empty(browser, url, folder)
    fill_models()
    example_usage.fill(person)
    fill(FLEET)  # while no server runs, which would remember the past without these rows
    with server() as url:
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
