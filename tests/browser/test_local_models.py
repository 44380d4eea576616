"""Local models by click: a whole gateway, a supervisor, a hub on loopback, and a real Chromium."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import TELL_VIOLATIONS, Console
from tests.e2e.gateway import CHAT_MODEL, EMBEDDING_MODEL, READY_SECONDS, ROOT, Gateway, eventually
from tests.inference.local.hub import Hub

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx
    from playwright.sync_api import Browser, Locator, Page

pytestmark = [pytest.mark.browser, pytest.mark.model]

PATIENTLY_MS = 90_000
TINY = "house/tiny"
# In a process of its own: this one does without MLX.
WRITE_MODELS = """
import os, sys
from pathlib import Path
from inference.loading.demo import demo_chat_model, demo_embedding_model
from tests.inference.tiny_models import write_tiny_model
demo_embedding_model(Path(sys.argv[1]))
write_tiny_model(Path(sys.argv[2]), tokenizer_from=demo_chat_model(Path(sys.argv[1])))
os._exit(0)
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with Hub(tmp_path / "tiny") as made:
        yield made


@pytest.fixture
def gateway(hub: Hub, tmp_path: Path) -> Iterator[Gateway]:
    environment = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "hf"),
        "OPENBLAS_NUM_THREADS": "1",
    }
    with Gateway(environment=environment, options=("--without-model",)) as running:
        command = [sys.executable, "-c", WRITE_MODELS, os.environ["OLLA_MODELS_DIR"], str(hub.folder)]
        subprocess.run(command, cwd=ROOT, check=True)
        eventually(
            lambda: "Add your servers" in running.output, within=READY_SECONDS, what=lambda: running.output
        )
        yield running
        running.stop()
    shutil.rmtree(running.home, ignore_errors=True)


@pytest.fixture
def page(chromium: Browser, gateway: Gateway) -> Iterator[Page]:
    console = Console()
    context = chromium.new_context(base_url=gateway.url)
    context.set_default_timeout(PATIENTLY_MS)
    page = context.new_page()
    page.add_init_script(TELL_VIOLATIONS)
    console.listen_to(page)
    page.goto("/login/?next=/models/local/")
    page.fill("#id_username", "admin")
    page.fill("#id_password", gateway.password())
    page.click("main button")
    yield page
    context.close()
    assert console.unexpected == []


def card(page: Page, name: str) -> Locator:
    return page.locator("article.card", has=page.get_by_role("link", name=name, exact=True))


def comes_to(page: Page, name: str, state: str) -> None:
    expect(card(page, name).locator(".pill")).to_have_text(state, timeout=PATIENTLY_MS)


def press(page: Page, what: str, *, sure: str = "") -> None:
    page.get_by_role("button", name=what, exact=True).click()
    if sure:
        expect(page.locator("#confirm")).to_contain_text(sure)
        page.get_by_role("button", name="Go ahead").click()


def add(page: Page, origin: str, *, source: str = "", kind: str = "chat", says: str) -> None:
    """Fill in the form of the admin, see what it says of the model's files, and save."""
    page.goto("/models/local/")
    page.get_by_role("link", name="Add a model").click()
    page.get_by_role("radio", name=origin).check()
    page.locator("#id_kind").select_option(kind)
    if source:
        page.locator("#id_source").fill("house/absent")
        expect(page.locator(".look")).to_contain_text("There is no model house/absent", timeout=PATIENTLY_MS)
        page.locator("#id_source").fill(source)
    expect(page.locator(".look")).to_contain_text(says, timeout=PATIENTLY_MS)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".health .pill")).to_be_visible()


MESSAGE = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 6, "temperature": 0}
CALLS = [
    ("/v1/chat/completions", {"model": CHAT_MODEL, **MESSAGE}),
    ("/v1/chat/completions", {"model": TINY, **MESSAGE}),
    ("/v1/embeddings", {"model": EMBEDDING_MODEL, "input": "Hi"}),
]
ROUNDS = 4


def ask(client: httpx.Client, number: int) -> Any:
    """What the model says to the call of this number, or the status of what is no answer."""
    path, body = CALLS[number]
    answer = client.post(path, json=body)
    if not answer.is_success:
        return answer.status_code
    said = answer.json()
    if "choices" in said:
        return said["choices"][0]["message"]["content"]
    return said["data"][0]["embedding"]


def ask_all_at_once(gateway: Gateway) -> None:
    """None of the three is held up or led astray by the others."""
    numbers = range(len(CALLS))
    with gateway.client() as client, ThreadPoolExecutor(len(CALLS) * ROUNDS) as pool:
        eventually(
            lambda: not any(isinstance(ask(client, number), int) for number in numbers), within=READY_SECONDS
        )
        alone = [ask(client, number) for number in numbers]
        together = list(pool.map(partial(ask, client), [*numbers] * ROUNDS))
    for said, expected in zip(together, alone * ROUNDS, strict=True):
        assert said == pytest.approx(expected, abs=1e-3)


@pytest.mark.timeout(300)
def test_three_models_live_side_by_side_and_a_broken_one_is_mended(
    page: Page, gateway: Gateway, hub: Hub, tmp_path: Path
) -> None:
    expect(page.locator(".sentence")).to_have_text("No local model yet.")
    hub.cut_after, hub.stalls = 1000, True
    add(page, "Hugging Face", source=TINY, says="are to be downloaded")
    expect(page.locator(".health .pill")).to_have_text("Downloading", timeout=PATIENTLY_MS)
    add(page, "The demo model", says="free on")
    add(page, "The demo model", kind="embedding", says="free on")
    page.goto("/models/local/")
    page.evaluate("window.sameDocument = true")
    expect(card(page, TINY).get_by_role("progressbar")).to_be_visible()
    press(page, f"Stop {TINY}")
    comes_to(page, TINY, "Stopped")
    hub.cut_after, hub.stalls = None, False
    press(page, f"Start {TINY}")
    expect(page.locator(".sentence")).to_have_text("All 3 local models are ready.", timeout=PATIENTLY_MS)
    ask_all_at_once(gateway)
    expect(card(page, TINY)).to_contain_text("used", timeout=PATIENTLY_MS)

    press(page, f"Unload {TINY}")
    comes_to(page, TINY, "Unloaded")
    weights = next((tmp_path / "hf" / "hub").glob("models--*/snapshots/*/model.safetensors")).resolve()
    weights.write_bytes(weights.read_bytes()[:-1])
    press(page, f"Start {TINY}")
    comes_to(page, TINY, "Failed")
    expect(card(page, TINY)).to_contain_text("is damaged: it has")
    press(page, f"Delete files {TINY}", sure="have to be downloaded again before it can run")
    expect(card(page, TINY)).to_contain_text("Its files were deleted", timeout=PATIENTLY_MS)
    press(page, f"Start {TINY}")
    comes_to(page, TINY, "Ready")
    gateway.manage("models", "stop", EMBEDDING_MODEL)
    comes_to(page, EMBEDDING_MODEL, "Stopped")
    assert page.evaluate("window.sameDocument")

    page.get_by_role("link", name=f"Show the log of {TINY}").click()
    expect(page.locator(".model-log")).to_contain_text("/health says when it is ready")
    expect(page.locator(".timeline")).to_contain_text("is damaged: it has")
