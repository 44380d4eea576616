"""What docs/clients prints is run as it stands there: a person who copies it gets an answer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.clients.conftest import PAGES, PRINTED_URL, blocks
from tests.services import missing

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.gateway import Gateway

pytestmark = [pytest.mark.model, pytest.mark.timeout(240), pytest.mark.xdist_group("clients")]
WAIT_SECONDS = 120


def run(*command: str, folder: Path | None = None, **environment: str) -> str:
    """What it prints. Nothing of this machine's proxies or keys reaches it."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_SECONDS,
        cwd=folder,
        env={**kept, **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("page", "place", "said"),
    [
        ("openai-python", 0, "Paris"),
        ("openai-python", 1, "Paris"),
        ("anthropic", 0, ""),  # its SDK offers no temperature, so the words differ from run to run
        ("langchain", 0, "Paris"),
        ("langchain", 1, "384 numbers"),
    ],
)
def test_python_code_answers(gateway: Gateway, page: str, place: int, said: str) -> None:
    printed = run(sys.executable, "-c", blocks(page, "python", gateway)[place])

    assert printed.strip()
    assert said in printed


@pytest.mark.parametrize("place", [0, 1, 2])
def test_curl_answers(gateway: Gateway, place: int) -> None:
    shutil.which("curl") or missing("curl")

    printed = run("sh", "-c", blocks("curl", "sh", gateway)[place])

    assert "Paris" in printed


def test_javascript_code_answers(gateway: Gateway, tmp_path: Path) -> None:
    node, npm = shutil.which("node") or missing("node"), shutil.which("npm") or missing("npm")
    (tmp_path / "package.json").write_text(json.dumps({"name": "client", "type": "module"}))
    run(npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "openai@7", folder=tmp_path)
    (tmp_path / "client.js").write_text(blocks("openai-javascript", "js", gateway)[0])

    assert "Paris" in run(node, "client.js", folder=tmp_path)


def test_llm_answers(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "extra-openai-models.yaml").write_text(blocks("llm", "yaml", gateway)[0])
    program = str(shutil.which("llm", path=os.path.dirname(sys.executable)))  # noqa: PTH120
    command = blocks("llm", "sh", gateway)[0].replace("llm ", f"{program} ", 1)

    printed = run("sh", "-c", command, LLM_USER_PATH=str(tmp_path), OPENAI_API_KEY="not-needed")

    assert "Paris" in printed


def test_every_page_is_listed_and_says_where_the_gateway_is() -> None:
    index = (PAGES / "README.md").read_text()
    for page in PAGES.glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index
        assert PRINTED_URL in page.read_text() or page.name == "cursor.md"
