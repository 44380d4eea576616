"""Pictures of every page, light and dark, desktop and phone: `python scripts/screenshots.py [FOLDER]`.

A real server on a free port, with a home of its own and an example fleet in different states, seen by
Chromium. `make screenshots` runs it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

Scheme = Literal["light", "dark"]

ROOT = Path(__file__).resolve().parent.parent
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
STATUS_TOKEN = "the-link-in-the-pictures"  # noqa: S105 - of a server that lives for a minute


@contextmanager
def server() -> Iterator[str]:
    """The web process alone: no worker, no model."""
    from bench.ports import free_port  # noqa: PLC0415 - after the root is on the path

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
    from bench.chromium import chromium as installed  # noqa: PLC0415 - after the root is on the path

    path = os.environ.get("CHROMIUM") or installed()
    if path is None:
        sys.exit("Chromium is not installed: see `make services`, or name it in CHROMIUM.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
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


@dataclass(frozen=True, slots=True)
class Camera:
    """Takes pictures of one page, in one size and one colour scheme."""

    page: Page
    url: str
    folder: Path
    suffix: str

    def take(self, name: str, path: str | None = None) -> None:
        if path is not None:
            self.page.goto(self.url + path)
        self.page.wait_for_timeout(400)
        file = self.folder / f"{name}-{self.suffix}.png"
        self.page.screenshot(path=file, full_page=True)
        print(file.name)


def shoot(browser: Browser, url: str, folder: Path, *, size: str, scheme: Scheme) -> None:
    """Every page in one size and one colour scheme."""
    page = open_page(browser, size=size, scheme=scheme)
    camera = Camera(page, url, folder, f"{size}-{scheme}")
    shoot_pages(page, camera)
    shoot_admin(page, camera)
    page.close()


def shoot_pages(page: Page, camera: Camera) -> None:
    camera.take("sign-in", "/login/")
    page.fill("#id_username", USER)
    page.fill("#id_password", "wrong")
    page.click("main button")
    camera.take("sign-in-error")
    sign_in(page, camera.url)
    page.wait_for_selector("#live[data-state=live]")
    # Right after a start the day's latency comes in steps.
    for _ in range(7):
        page.goto(camera.url)
    page.wait_for_selector("#live[data-state=live]")
    camera.take("dashboard")
    page.click(".more summary")
    page.click(".menu summary")
    camera.take("dashboard-menu")
    page.goto(camera.url)
    page.click(".card[data-down=true] h2 a")
    page.wait_for_selector("#live[data-state=live]")
    camera.take("endpoint")
    camera.take("incidents", "/incidents/")
    page.emulate_media(media="print")
    camera.take("incidents-print")
    page.emulate_media(media="screen")
    camera.take("models", "/models/")
    camera.take("model", "/models/mlx-community/Qwen3-8B-4bit/")
    camera.take("playground", "/playground/")
    camera.take("requests", "/requests/")
    page.click("tbody th a >> nth=0")
    camera.take("request")
    camera.take("local-models", "/models/local/")
    page.get_by_role("link", name="Mistral-7B", exact=True).click()
    camera.take("local-model")
    camera.take("usage", "/usage/")
    camera.take("usage-everyone", "/usage/?of=all")
    camera.take("status", f"/status/{STATUS_TOKEN}/")
    camera.take("not-found", "/nothing-here/")


def shoot_admin(page: Page, camera: Camera) -> None:
    camera.take("admin-local-models", "/admin/inference/localmodel/")
    page.get_by_role("link", name="Mistral-7B").click()
    camera.take("admin-local-model")
    camera.take("admin-local-model-add", "/admin/inference/localmodel/add/")
    camera.take("admin", "/admin/")
    camera.take("admin-list", "/admin/endpoints/endpoint/")
    page.goto(f"{camera.url}/admin/endpoints/endpoint/")
    page.click("#result_list th.field-endpoint a >> nth=0")
    page.locator(".history summary").click()
    camera.take("admin-change")
    page.goto(f"{camera.url}/admin/endpoints/endpoint/add/")
    page.fill("#id_name", "mac-mini-4")
    page.fill("#id_url", "ftp://192.168.1.34")
    page.fill("#id_check_interval_seconds", "often")
    page.click("input[name=_save]")
    camera.take("admin-error")
    page.goto(f"{camera.url}/admin/endpoints/endpoint/add/")
    page.fill("#id_url", "http://127.0.0.1:9")
    page.click("#test-connection")
    page.wait_for_selector("#test-outcome .pill")
    camera.take("admin-test")
    camera.take("admin-import", "/admin/endpoints/endpoint/import/")
    camera.take("admin-status-page", "/admin/endpoints/statuspage/")


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
    import example_requests  # noqa: PLC0415
    import example_usage  # noqa: PLC0415
    from django.contrib.auth.models import User  # noqa: PLC0415
    from example_fleet import FLEET, fill, keep_checking  # noqa: PLC0415
    from example_models import fill_models  # noqa: PLC0415

    from endpoints.past import rollup  # noqa: PLC0415
    from endpoints.status_page_row import StatusPage  # noqa: PLC0415
    from ollaproject.wire.clock import now  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    person = User.objects.create_superuser(USER, password=PASSWORD)
    with server() as url, chromium() as browser:
        shoot_empty(browser, url, folder)
    fill_models()
    example_usage.fill(person)
    fill(FLEET)  # while no server runs, which would remember the past without these rows
    example_requests.fill()
    rollup.roll_up(now())
    StatusPage.objects.create(enabled=True, shows_models=True, token=STATUS_TOKEN)
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
