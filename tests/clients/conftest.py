"""One gateway with the demo models for all clients, and what the pages in docs/clients print."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.gateway import Gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = Path(__file__).resolve().parent.parent.parent / "docs" / "clients"
PRINTED_URL = "http://127.0.0.1:40114"


@pytest.fixture(scope="session")
def gateway() -> Iterator[Gateway]:
    with Gateway() as running:
        running.wait_until_ready()
        yield running
    shutil.rmtree(running.home, ignore_errors=True)


def blocks(page: str, language: str, gateway: Gateway) -> list[str]:
    """The code of one language on a page, for this gateway's port."""
    text = (PAGES / f"{page}.md").read_text()
    found = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found
    return [block.replace(PRINTED_URL, gateway.url) for block in found]
