"""The words of the pages are gathered, translated, and shown to whoever speaks the language."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.test import Client

from tests.pages.fleet import add_endpoint
from tests.services import missing

if TYPE_CHECKING:
    from django.contrib.auth.models import User

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_words_of_the_pages_are_translated_but_for_a_few() -> None:
    if shutil.which("xgettext") is None:
        missing("GNU gettext")
    command = [sys.executable, "scripts/messages.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.django_db
def test_pages_and_their_scripts_speak_the_readers_language(admin_user: User) -> None:
    add_endpoint("mini-1")
    client = Client(headers={"accept-language": "de-CH,de;q=0.9"})
    client.force_login(admin_user)
    html = client.get("/").content.decode()
    assert '<html lang="de">' in html
    assert "mini-1 antwortet." in html
    assert "Kopiert." in client.get("/words.js").content.decode()
    client.post("/language/", {"language": "en", "next": "/"})
    assert "mini-1 serves." in client.get("/").content.decode()
