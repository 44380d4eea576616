"""What is not documented does not exist: settings and commands without their words fail here."""

from __future__ import annotations

import re
from argparse import ArgumentParser, _SubParsersAction
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from django.core.management import BaseCommand, get_commands, load_command_class

from endpoints import profiles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from endpoints.profiles import Profile

ROOT = Path(__file__).resolve().parent.parent.parent
ROOMS = ("ollaproject", "endpoints", "proxy", "inference")
READ_FROM_ENVIRONMENT = re.compile(r"""(?:env_\w+|kept_secret)\(\s*["']([A-Z_]+)["']""")


def variables() -> set[str]:
    found: set[str] = set()
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            found |= set(READ_FROM_ENVIRONMENT.findall(path.read_text()))
    return found - {"OLLA_PROCESS"}  # set by serve for its children, not by people


def own_commands() -> list[str]:
    return sorted(name for name, app in get_commands().items() if app in ROOMS)


def options(parser: ArgumentParser) -> Iterator[str]:
    """The long ones, of its verbs as well."""
    for action in parser._actions:
        yield from (word for word in action.option_strings if word.startswith("--"))
        if isinstance(action, _SubParsersAction):
            for verb in action.choices.values():
                yield from options(verb)


def test_it_finds_variables_and_commands_at_all() -> None:
    assert {"OLLA_HOME", "DATABASE_URL", "OLLA_API_AUTH"} <= variables()
    assert {"serve", "serve_model", "import_endpoints"} <= set(own_commands())


@pytest.mark.parametrize("name", sorted(variables()))
def test_every_variable_is_documented(name: str) -> None:
    assert f"`{name}`" in (ROOT / "docs" / "configuration.md").read_text()


def test_no_variable_is_documented_that_nothing_reads() -> None:
    documented = set(
        re.findall(r"^\| `([A-Z_]+)`", (ROOT / "docs" / "configuration.md").read_text(), re.MULTILINE)
    )

    assert documented - variables() == set()


@pytest.mark.parametrize("name", sorted(variables()))
def test_every_variable_is_in_the_example_file(name: str) -> None:
    assert re.search(rf"^#{name}(_FILE)?=", (ROOT / ".env.example").read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", own_commands())
def test_every_command_is_documented(name: str) -> None:
    assert f"manage.py {name}" in (ROOT / "docs" / "commands.md").read_text()


@pytest.mark.parametrize("name", [name for name in own_commands() if name != "runserver"])  # is Daphne's
def test_every_option_of_a_command_is_documented(name: str) -> None:
    text = "".join((ROOT / "docs" / page).read_text() for page in ("commands.md", "inference.md"))
    common = set(options(BaseCommand().create_parser("manage.py", "any")))
    own = set(options(load_command_class(get_commands()[name], name).create_parser("manage.py", name)))

    assert [option for option in sorted(own - common) if not re.search(rf"{option}(?![\w-])", text)] == []


@pytest.mark.parametrize("name", own_commands())
def test_the_help_of_every_command_has_an_example(name: str) -> None:
    command = load_command_class(get_commands()[name], name)

    assert f"manage.py {name}" in command.help


@pytest.mark.parametrize("name", own_commands())
def test_every_command_has_a_test(name: str) -> None:
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__))

    assert re.search(rf"""["']{name}["']""", tests)


@pytest.mark.parametrize("profile", profiles.profiles(), ids=lambda profile: profile.name)
def test_every_backend_type_is_documented_as_it_is(profile: Profile) -> None:
    words = {True: "yes", False: ""}
    prefixes = ", ".join(f"`{prefix}`" for prefix in profile.prefixes)
    speaks = f"{words[profile.speaks_anthropic]} | {words[profile.speaks_responses]}"
    row = (
        f"| {profile.display_name} (`{profile.name}`) | {prefixes} | `{profile.health_path}` | "
        f"`{profile.models_path}` | {speaks} | {profile.default_priority} | {profile.max_concurrent} |"
    )
    text = (ROOT / "docs" / "backends.md").read_text()
    assert row in text
    for quirk in profile.quirks:
        assert quirk in text


def test_the_api_page_names_every_call_of_the_schema() -> None:
    """Each as a row of the table has it: the methods, then the path, of actions its last part alone."""
    rows = [line for line in (ROOT / "docs" / "api.md").read_text().splitlines() if line.startswith("| `")]
    paths = yaml.safe_load((ROOT / "tests" / "api" / "schema.yaml").read_text())["paths"]
    missing = [
        path
        for path in paths
        if path.startswith("/api/") and not any(f"{path}`" in row or action_in(row, path) for row in rows)
    ]

    assert len(paths) > 20
    assert missing == []


def action_in(row: str, path: str) -> bool:
    """Whether a row has `POST /api/keys/{id}/rotate/`, `revoke/` for a path that ends with revoke/."""
    parent, _slash, action = path.rstrip("/").rpartition("/")
    return f"{parent}/" in row and f"`{action}/`" in row


def test_every_error_that_troubleshooting_explains_is_one_that_is_answered() -> None:
    explained = (ROOT / "docs" / "troubleshooting.md").read_text()
    answered = "".join(
        path.read_text() for room in ("proxy", "ollaproject/wire") for path in (ROOT / room).glob("*.py")
    )
    codes = re.findall(r"^\| `\d{3} (\w+)`(?:, `(\w+)`)?", explained, re.MULTILINE)

    assert len(codes) > 5
    assert [code for row in codes for code in row if code and f'"{code}"' not in answered] == []


def test_every_sentence_that_troubleshooting_explains_is_one_that_a_page_says() -> None:
    explained = re.findall("“([^”]+)”", (ROOT / "docs" / "troubleshooting.md").read_text())
    sources = [path for room in (*ROOMS, "templates") for path in (ROOT / room).rglob("*.*")]
    said = "".join(path.read_text() for path in sources if path.suffix in {".html", ".js", ".py"}).lower()

    assert len(explained) > 5
    assert [words for words in explained if not re.search(r"\d", words) and words.lower() not in said] == []


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_every_row_of_a_table_stands_below_its_heading(page: Path) -> None:
    """A row after an empty line is shown as it is written."""
    lines = page.read_text().split("\n")
    first = [
        at for at, line in enumerate(lines) if line.startswith("|") and not lines[at - 1].startswith("|")
    ]

    assert [lines[at] for at in first if not re.fullmatch(r"\|[ :|-]+", lines[at + 1])] == []
