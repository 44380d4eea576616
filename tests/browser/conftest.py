"""A real Chromium in front of a real server, which reads the database that the test writes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from itertools import count
from typing import TYPE_CHECKING

import httpx
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from playwright.sync_api import expect, sync_playwright

from bench.chromium import chromium as installed_chromium
from bench.ports import free_port
from endpoints.models import Revision
from ollaproject.wire import roles
from tests.services import missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, BrowserContext, Page

START_SECONDS = 90
PATIENTLY_MS = 30_000  # what is expected comes in a moment; the machine may be busy
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# What breaks the policy is told to the console, which fails the test.
TELL_VIOLATIONS = """document.addEventListener("securitypolicyviolation", (event) =>
    console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`))"""


class WebServer:
    """The web process in a subprocess; it can be stopped and started again on the same port."""

    def __init__(self, database_url: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {**os.environ, "DATABASE_URL": database_url, "OLLA_SHARED_COUNTS": "true"}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "ollaproject.web", "--port", str(self.port)]
        self._process = subprocess.Popen(command, env=self._environment)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self._process.poll() is None, "the web process ended while it started"
            assert time.monotonic() < deadline, "the web process did not start in time"
            time.sleep(0.1)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(START_SECONDS)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/login/", timeout=START_SECONDS, trust_env=False).is_success
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = installed_chromium() or missing("Chromium")
    # Playwright keeps an event loop running in this thread, which Django takes for asynchronous code.
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    try:
        with sync_playwright() as playwright:
            expect.set_options(timeout=PATIENTLY_MS)
            browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
            yield browser
            browser.close()
    finally:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]
        if before is not None:
            os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = before


@pytest.fixture(scope="module")
def web_process(chromium: Browser, django_db_setup: None) -> Iterator[WebServer]:
    server = WebServer(database_url())
    server.start()
    yield server
    server.stop()


def database_url() -> str:
    """The URL of the test database."""
    settings = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{settings['NAME']}"
    credentials = f"{settings['USER']}:{settings['PASSWORD']}".rstrip(":")
    return f"postgres://{credentials}@{settings['HOST']}:{settings['PORT']}/{settings['NAME']}"


revisions = count(1000, 1000)


@pytest.fixture
def web(web_process: WebServer, transactional_db: None) -> WebServer:
    """The server, with an empty database. Its counters are new, or it would seem unchanged to the server."""
    number = next(revisions)
    Revision.objects.update_or_create(pk=Revision.SINGLETON, defaults={"routing": number, "activity": number})
    return web_process


@pytest.fixture
def restarted_web(web: WebServer) -> WebServer:
    """For a test in which the server writes rows of the admin's log.

    They point at content types, whose numbers it keeps in memory; emptying the database gives them new ones.
    """
    web.stop()
    web.start()
    return web


class Console:
    """What the browser complained about. A test that provokes a complaint names it with `expect`."""

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self.expected: list[str] = []

    def expect(self, *pieces: str) -> None:
        self.expected += pieces

    def listen_to(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self._hear(message.type, message.text))

    def _hear(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    @property
    def unexpected(self) -> list[str]:
        return [text for text in self.complaints if not any(piece in text for piece in self.expected)]


@pytest.fixture
def console() -> Console:
    return Console()


@pytest.fixture
def open_page(chromium: Browser, web: WebServer, console: Console) -> Iterator[Callable[..., Page]]:
    """Opens a page for a person, or for nobody. No complaint of the browser is overlooked."""
    contexts: list[BrowserContext] = []

    def open_page(user: User | None = None, *, width: int = 1280, scheme: str = "light") -> Page:
        context = chromium.new_context(
            base_url=web.url,
            viewport={"width": width, "height": 800},
            color_scheme="dark" if scheme == "dark" else "light",
        )
        contexts.append(context)
        context.set_default_timeout(PATIENTLY_MS)
        if user is not None:
            client = Client()
            client.force_login(user)
            context.add_cookies(
                [
                    {"name": name, "value": morsel.value, "url": web.url}
                    for name, morsel in client.cookies.items()
                ]
            )
        page = context.new_page()
        page.add_init_script(TELL_VIOLATIONS)
        console.listen_to(page)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert console.unexpected == []


@pytest.fixture
def operator(web: WebServer) -> User:
    return User.objects.create_superuser("ada")


@pytest.fixture
def member(web: WebServer) -> User:
    user = User.objects.create_user("grace")
    roles.grant(user, roles.MEMBER)
    return user
