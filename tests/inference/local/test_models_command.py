"""`manage.py models` where no supervisor runs: what it prints, adds, refuses and removes, and how it ends."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.core.management.base import OutputWrapper

from inference.local import cards, log_view, record, terminal
from inference.local.choices import State, Wanted
from inference.local.site import Site
from inference.models import LocalModel
from tests.pages.test_local_models import add_machine, add_model
from tests.pages.test_local_models_admin import write_folder

pytestmark = pytest.mark.django_db


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("models", *arguments, stdout=out)
    return out.getvalue()


def test_the_list_is_a_table_or_rows() -> None:
    assert "manage.py models pull SOURCE" in run("list")
    add_machine()
    add_model("small", memory_megabytes=1000, reason="It did not answer.", state=State.FAILED)
    assert [cell.strip() for cell in run("list").splitlines()[1].split("  ") if cell] == [
        *("small", "Failed", "needs 1.0 GB, 9.3 GB free on mini-2", "any", "It did not answer.")
    ]
    (row,) = json.loads(run("list", "small", "--json"))
    assert (row["state"], row["said"], row["needed_bytes"]) == (
        "failed",
        "It did not answer.",
        1000 * 1024**2,
    )
    with pytest.raises(CommandError, match="There is no local model called other"):
        run("list", "other")


def test_pulling_adds_a_model_once_and_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine")
    assert "Added mine. It needs" in run("pull", str(folder))
    assert "The files of mine are here." in run("pull", str(folder))
    assert LocalModel.objects.get().wanted == Wanted.STOPPED
    assert json.loads(run("pull", str(folder), "--start", "--no-wait", "--json"))[0]["wanted"] == "running"
    with pytest.raises(CommandError, match="one of type llama"):
        run("pull", str(folder), "--name", "other", "--kind", "embedding")
    assert LocalModel.objects.count() == 1


def test_without_a_supervisor_nothing_is_waited_for_in_vain(tmp_path: Path) -> None:
    run("pull", str(write_folder(tmp_path / "mine")))
    with pytest.raises(CommandError, match="mine: It waits for a supervisor"):
        run("start", "mine")
    assert LocalModel.objects.get().wanted == Wanted.RUNNING
    add_machine()
    with pytest.raises(CommandError, match="mine: It took longer than 0 s, and goes on"):
        run("start", "mine", "--timeout", "0.1")


def test_a_failure_since_it_was_asked_for_ends_the_waiting() -> None:
    add_machine()
    model = add_model("mine", wanted=Wanted.RUNNING)
    record.move(record.status_of(model), State.FAILED, "model.safetensors is damaged.")
    screen = terminal.Screen(OutputWrapper(io.StringIO()))
    with pytest.raises(terminal.Failed, match="is damaged"):
        terminal.follow(model.pk, lambda *_: False, screen, within_seconds=5)


def test_a_terminal_gets_a_bar_and_a_file_gets_lines() -> None:
    model = add_model(state=State.DOWNLOADING, done=45_000_000, total=93_000_000, bytes_per_second=12_000_000)
    watched, logged = Terminal(), io.StringIO()
    for out in (watched, logged):
        screen = terminal.Screen(OutputWrapper(out))
        for _ in range(2):
            screen.show(cards.card_of(model, record.status_of(model), []))
        screen.end()
    said = "48 %  45 MB of 93 MB, 12 MB/s, 4 s left"
    assert watched.getvalue() == f"\r\x1b[Ksmall  Downloading  [###########-------------]  {said}" * 2 + "\n"
    assert logged.getvalue() == f"small  Downloading  {said}\n"


def test_removing_asks_and_leaves_a_folder_that_a_person_gave(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine")
    run("pull", str(folder))
    with pytest.raises(CommandError, match="--yes"):
        run("rm", "mine")
    assert "Removed mine." in run("rm", "mine", "--yes")
    assert not LocalModel.objects.exists()
    assert (folder / "config.json").exists()


def test_the_log_is_printed_and_what_is_new_of_it_is_found() -> None:
    model = add_model()
    assert "Nothing was written yet." in run("logs", "small")
    file = Path(settings.OLLA_HOME) / "logs" / f"model-{model.pk}.log"
    file.parent.mkdir(exist_ok=True)
    file.write_text("one\ntwo\nthree\n")
    assert run("logs", "small", "--lines", "2") == "two\nthree\n"
    log_view.keep(record.status_of(model), Site("mini-2", address="mini-2"))
    file.unlink()
    assert run("logs", "small", "--lines", "2") == "two\nthree\n"  # as a gateway on another machine has it
    assert log_view.since("a\nb", "a\nb\nc\nd") == "c\nd"
    assert log_view.since("a\nb", "b") == "b"
    assert log_view.since("a", "a") == ""


def test_a_verb_that_makes_no_sense_now_changes_nothing() -> None:
    add_machine()
    add_model()
    said: Any = run("unload", "small")
    assert said == "Nothing to do for small: it stays as it is.\n"
    assert LocalModel.objects.get().wanted == Wanted.STOPPED
