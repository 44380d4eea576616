"""The words of the pages are gathered, translated, and shown to whoever speaks the language."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import django
import pytest
from babel.messages import pofile
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.utils.functional import Promise

from ollaproject import words_of_django
from ollaproject.wire import roles
from tests.pages.fleet import add_endpoint
from tests.services import missing

if TYPE_CHECKING:
    from babel.messages.catalog import Catalog
    from django.contrib.auth.models import User

ROOT = Path(__file__).resolve().parent.parent.parent
# What is not the template's own text: what is translated, filled in, code or drawn.
NO_TEXT: Final = re.compile(
    r"{%\s*blocktranslate.*?{%\s*endblocktranslate\s*%}|{%.*?%}|{{.*?}}|{#.*?#}"
    r"|<(code|pre|svg|script)\b.*?</\1>|<!doctype[^>]*>|&\w+;",
    re.DOTALL,
)
SPOKEN: Final = re.compile(r'\b(?:aria-label|placeholder|title|alt|data-confirm|data-empty)="([^"]*)"')
HANDED_ON: Final = re.compile(r"""{%\s*include\b[^%]*\blabel=["']([^"']*)["']""")
TAG: Final = re.compile(r"<[^>]*>|\b[\w-]+=(?:\"[^\"]*\"|'[^']*')")
WORD: Final = re.compile(r"[A-Za-z]{3}")
THE_SAME_EVERYWHERE: Final = re.compile(
    r"\b(?:ollaproject|UTC|JSON|HTTP|API|REST|tok/s|top_p|sk-olla|X-Olla-Session-ID|req_)|-laptop\b"
)
ROOMS: Final = ("endpoints", "proxy", "inference")
SCRIPTS_OF_DJANGO: Final = (ROOT / "ollaproject" / "words_of_django.js").read_text()
WORD_OF_DJANGO: Final = re.compile(r"gettext\('(.*)'\)")
# A page of another program.
FOREIGN: Final = ("drf_spectacular/",)


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


@pytest.mark.parametrize(
    ("domain", "named"),
    [("django", set(words_of_django.WORDS)), ("djangojs", set(WORD_OF_DJANGO.findall(SCRIPTS_OF_DJANGO)))],
)
def test_what_djangos_german_lacks_is_translated_here_and_nothing_else(domain: str, named: set[str]) -> None:
    lacking: set[str] = set()
    for folder in ("conf", "contrib/admin", "contrib/auth"):
        catalogs = Path(django.__file__).parent / folder / "locale"
        german = catalogs / "de" / "LC_MESSAGES" / f"{domain}.po"
        if german.exists():
            said = {str(entry.id) for entry in read(german) if entry.string and not entry.fuzzy}
            english = catalogs / "en" / "LC_MESSAGES" / f"{domain}.po"
            lacking |= {str(entry.id) for entry in read(english) if entry.id} - said
    assert named == lacking


@pytest.mark.django_db
def test_people_and_groups_are_told_in_the_readers_language(admin_user: User) -> None:
    client = Client(headers={"accept-language": "de"})
    client.force_login(admin_user)
    role = Group.objects.get(name=roles.MEMBER)
    for path in (f"/admin/auth/user/{admin_user.pk}/change/", f"/admin/auth/group/{role.pk}/change/"):
        html = client.get(path).content.decode()
        assert ">Darf die Flotte auf ihren Seiten sehen" in html
        assert ">Darf ändern: Endpunkt" in html
        assert ">Darf ansehen: behaltener Inhalt" in html
        assert re.findall(r"\bCan \w+|host|process", html.partition("id_user_permissions")[2]) == []
    assert r"Alle %s ausw\u00e4hlen" in client.get("/admin/jsi18n/").content.decode()
    english = Client()
    english.force_login(admin_user)
    assert ">Can view kept body" in english.get(path).content.decode()


@pytest.mark.django_db
def test_rights_of_a_group_are_kept_and_changed_in_its_form(admin_user: User) -> None:
    client = Client()
    client.force_login(admin_user)
    group = Group.objects.create(name="billing")
    right = Permission.objects.get(codename="view_usagetotal")
    form = {"name": "billing", "permissions": [right.pk]}
    assert client.post(f"/admin/auth/group/{group.pk}/change/", form).status_code == 302
    assert list(group.permissions.all()) == [right]


def test_no_template_has_words_that_are_not_to_be_translated() -> None:
    templates = ROOT / "templates"
    found = [
        (path.relative_to(templates).as_posix(), bare)
        for path in sorted(templates.rglob("*.html"))
        if not any(part in path.as_posix() for part in FOREIGN)
        for bare in bare_words(path.read_text())
    ]
    assert found == []
    assert bare_words('<p title="Said">{% translate "x" %} <b>bare</b> text</p>') == ["Said", "bare", "text"]
    assert bare_words('{% include "choice.html" with label="Days" %}') == ["Days"]


def test_what_the_admin_calls_tables_and_fields_is_to_be_translated() -> None:
    ours = [model for model in admin.site._registry if model._meta.app_label in ROOMS]
    found = [
        f"{model._meta.label}.{field.name}: {words}"
        for model in ours
        for field in model._meta.fields
        if field.editable and not field.primary_key
        for words in (field.verbose_name, field.help_text)
        if words and not isinstance(words, Promise)
    ]
    found += [
        f"{model._meta.label}: {words}"
        for model in ours
        for words in (model._meta.verbose_name, model._meta.verbose_name_plural)
        if not isinstance(words, Promise)
    ]
    assert len(ours) > 8
    assert found == []


def test_no_words_are_translated_inside_an_f_string_where_gettext_does_not_find_them() -> None:
    inside = re.compile(r"""\{_?n?p?gettext(?:_lazy)?\(|\{_\(""")
    found = [
        (path.as_posix(), line)
        for room in (*ROOMS, "ollaproject")
        for path in (ROOT / room).rglob("*.py")
        for line in path.read_text().splitlines()
        if inside.search(line)
    ]
    assert found == []


def bare_words(template: str) -> list[str]:
    text = NO_TEXT.sub(" ", template)
    pieces = [*HANDED_ON.findall(template), *SPOKEN.findall(text), *TAG.sub("\n", text).split("\n")]
    return [piece.strip() for piece in pieces if WORD.search(THE_SAME_EVERYWHERE.sub("", piece))]


def read(po: Path) -> Catalog:
    with po.open("rb") as file:
        return pofile.read_po(file)
