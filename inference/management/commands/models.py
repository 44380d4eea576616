"""`manage.py models`: the local models from a terminal. The supervisors do the work, as for the pages."""

from __future__ import annotations

import json
import os
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, OutputWrapper

from inference.local import (
    buttons,
    configuring,
    files,
    listing,
    log_view,
    logs,
    looking,
    record,
    setbacks,
    terminal,
)
from inference.local.choices import Kind, State
from inference.models import LocalModel

if TYPE_CHECKING:
    from argparse import ArgumentParser, _SubParsersAction
    from collections.abc import Callable

    from django.core.management.base import CommandParser

    from inference.local.terminal import Done
    from inference.models import LocalModelStatus

FOLLOW_SECONDS = 0.5
INTERRUPTED = 130
FROM_ENVIRONMENT = "HF_TOKEN"


def is_ready(_model: LocalModel, status: LocalModelStatus) -> bool:
    return status.state == State.READY


def is_restarted(model: LocalModel, status: LocalModelStatus) -> bool:
    asked = model.restart_asked_at
    if status.state == State.READY and status.reason.startswith(setbacks.NOT_RENEWED):
        raise terminal.Failed(status.reason)
    return status.state == State.READY and bool(status.started_at and asked and status.started_at >= asked)


def is_here(model: LocalModel, status: LocalModelStatus) -> bool:
    return status.fetched_for == files.fingerprint(model)


def in_state(state: State) -> Done:
    return lambda _model, status: status.state == state


# What each verb waits for. Looking for an update is a matter of the supervisor's own time.
UNTIL: dict[str, Done] = {
    "start": is_ready,
    "restart": is_restarted,
    "stop": in_state(State.STOPPED),
    "unload": in_state(State.UNLOADED),
    "update": lambda _model, _status: True,
}


class Command(BaseCommand):
    help = (
        "List, pull, start, stop, restart, unload, update and remove local models, and read their logs. The "
        "supervisor (manage.py serve, or serve_models) does the work; this waits for it and shows it. "
        "The exit code is 1 when it failed. Examples: manage.py models list --json; "
        "manage.py models pull mlx-community/Llama-3.2-3B-Instruct-4bit --start; "
        "manage.py models logs NAME --follow; manage.py models rm NAME"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        listing = _verb(verbs, "list", "what there is and how it is", "manage.py models list --json")
        listing.add_argument("names", nargs="*", metavar="NAME", help="only these")
        _add_pull(verbs)
        for name in UNTIL:
            said = f"{buttons.BUTTONS[name].label.lower()} models"
            verb = _verb(verbs, name, said, f"manage.py models {name} SmolLM2-135M-Instruct")
            verb.add_argument("names", nargs="+", metavar="NAME", help="models by name")
            _add_waiting(verb)
        gone = _verb(
            verbs, "rm", "remove models and what was downloaded for them", "manage.py models rm NAME --yes"
        )
        gone.add_argument("names", nargs="+", metavar="NAME", help="models by name")
        gone.add_argument("--keep-files", action="store_true", help="leave what was downloaded on the disk")
        gone.add_argument("--yes", action="store_true", help="do not ask")
        _add_timeout(gone)
        log = _verb(
            verbs, "logs", "the end of a model's log", "manage.py models logs NAME --lines 50 --follow"
        )
        log.add_argument("names", nargs=1, metavar="NAME", help="a model by name")
        log.add_argument("--lines", type=int, default=logs.TAIL_LINES, help="how many lines (%(default)s)")
        log.add_argument("--follow", action="store_true", help="go on with what is written")

    def handle(self, *_args: Any, verb: str, **options: Any) -> None:
        act: dict[str, Callable[[dict[str, Any]], None]] = {
            "list": self._list,
            "pull": self._pull,
            "rm": self._remove,
            "logs": self._logs,
        }
        # What is printed for a program stays free of what is said to people.
        self._out = OutputWrapper(sys.stderr) if options["json"] else self.stdout
        do = act.get(verb) or partial(self._press, verb)
        try:
            do(options)
        except KeyboardInterrupt:
            self._say("\nIt goes on by itself. manage.py models stop NAME stops it.")
            sys.exit(INTERRUPTED)

    # --- The verbs

    def _list(self, options: dict[str, Any]) -> None:
        chosen = _named(options["names"]) if options["names"] else list(_stored())
        self._tell(chosen, options)

    def _pull(self, options: dict[str, Any]) -> None:
        model = _stored().filter(name=options["source"]).first() or self._added(options)
        verb = "start" if options["start"] else "download"
        status = record.status_of(model)
        if verb == "download" and (is_here(model, status) or not buttons.comes_from_elsewhere(model)):
            self._say(f"The files of {model.name} are here.")
        else:
            buttons.press(verb, [(model, status)])
            if not options["no_wait"]:
                self._wait([model], is_ready if options["start"] else is_here, options)
        self._tell([model], options, only_json=True)

    def _added(self, options: dict[str, Any]) -> LocalModel:
        given = {name: options[name] for name in ("source", "revision", "kind", "host")}
        model = LocalModel(**given)
        model.name = options["name"] or configuring.suggested_name(model)
        same: LocalModel | None = _stored().filter(name=model.name, source=model.source).first()
        if same is not None and same.kind == model.kind:
            return same
        model.set_token(os.environ.get(FROM_ENVIRONMENT, ""))
        try:
            model.full_clean()
            look = looking.look_at(model)
        except ValidationError as mistakes:
            raise CommandError(" ".join(mistakes.messages)) from None
        said = configuring.store(model, look).said
        self._say(f"Added {model.name}. {said}".strip())
        return model

    def _press(self, verb: str, options: dict[str, Any]) -> None:
        chosen = _named(options["names"])
        pairs = [(model, record.status_of(model)) for model in chosen]
        # One that is starting already is waited for all the same.
        waited = [pair[0] for pair in pairs if verb == "start" or buttons.BUTTONS[verb].fits(*pair)]
        self._say(buttons.press(verb, pairs))
        if not options["no_wait"]:
            self._wait(waited, UNTIL[verb], options)
        self._tell(chosen, options, only_json=True)

    def _remove(self, options: dict[str, Any]) -> None:
        chosen = _named(options["names"])
        if not options["yes"]:
            self._ask(chosen, keep_files=options["keep_files"])
        for model in chosen:
            status = record.status_of(model)
            if not options["keep_files"] and buttons.has_files(model, status):
                buttons.press("delete-files", [(model, status)])
                self._wait([model], lambda found, _status: not found.files_unwanted, options)
            configuring.remove(model)
            self._say(f"Removed {model.name}.")
        if options["json"]:
            self.stdout.write(
                json.dumps([{"name": model.name, "removed": True} for model in chosen], indent=2)
            )

    def _logs(self, options: dict[str, Any]) -> None:
        (model,) = _named(options["names"])
        shown = log_view.of(record.status_of(model), lines=max(1, options["lines"]))
        if options["json"]:
            self.stdout.write(json.dumps({"text": shown.text, "note": shown.note}))
            return
        if shown.text:
            self.stdout.write(shown.text)
        if shown.note:
            self._say(shown.note)
        elif not shown.text:
            self._say("Nothing was written yet.")
        while options["follow"]:
            time.sleep(FOLLOW_SECONDS)
            now = log_view.of(record.status_of(_named([model.name])[0]))
            if more := log_view.since(shown.text, now.text):
                self.stdout.write(more)
                self.stdout.flush()
            shown = now

    # --- What they share

    def _say(self, text: str) -> None:
        self._out.write(text)

    def _ask(self, chosen: list[LocalModel], *, keep_files: bool) -> None:
        if not sys.stdin.isatty():
            raise CommandError("Say --yes to remove models where nobody can be asked.")
        names = ", ".join(model.name for model in chosen)
        also = "" if keep_files else ", and what was downloaded for them"
        if input(f"Remove {names}{also}? [y/N] ").strip().lower() not in ("y", "yes"):
            raise CommandError("Nothing was removed.")

    def _wait(self, chosen: list[LocalModel], done: Done, options: dict[str, Any]) -> None:
        failed = []
        for model in chosen:
            screen = terminal.Screen(self._out)
            try:
                terminal.follow(model.pk, done, screen, within_seconds=options["timeout"])
            except terminal.Failed as error:
                failed.append(f"{model.name}: {error}")
            finally:
                screen.end()
        if failed:
            raise CommandError("\n".join(failed))

    def _tell(self, chosen: list[LocalModel], options: dict[str, Any], *, only_json: bool = False) -> None:
        found = _stored().filter(pk__in=[model.pk for model in chosen])
        if options["json"]:
            self.stdout.write(json.dumps(listing.rows(found), indent=2))
        elif not only_json:
            self.stdout.write(listing.table(found))


def _verb(verbs: _SubParsersAction[Any], name: str, said: str, example: str) -> ArgumentParser:
    verb: ArgumentParser = verbs.add_parser(
        name, help=said, description=f"{said[0].upper()}{said[1:]}. Example: {example}"
    )
    verb.add_argument("--json", action="store_true", help="print JSON")
    return verb


def _add_waiting(verb: ArgumentParser) -> None:
    verb.add_argument("--no-wait", action="store_true", help="do not wait for it")
    _add_timeout(verb)


def _add_timeout(verb: ArgumentParser) -> None:
    verb.add_argument("--timeout", type=float, metavar="SECONDS", help="how long to wait at most")


def _add_pull(verbs: _SubParsersAction[Any]) -> None:
    pull = _verb(
        verbs,
        "pull",
        f"add a model, if it is not there yet, and download its files (with {FROM_ENVIRONMENT}, if set)",
        "manage.py models pull mlx-community/Llama-3.2-3B-Instruct-4bit --start",
    )
    pull.add_argument(
        "source", metavar="SOURCE", help="a Hugging Face id, the whole path of a folder, or demo"
    )
    pull.add_argument("--name", default="", help="what clients ask for (as the source is called)")
    pull.add_argument("--revision", default="", help="a branch, tag or commit (main)")
    pull.add_argument(
        "--kind", default=Kind.CHAT, choices=[Kind.CHAT, Kind.EMBEDDING], help="what it is for (%(default)s)"
    )
    pull.add_argument("--host", default="", help="the machine that runs it (any that has room)")
    pull.add_argument("--start", action="store_true", help="and start it")
    _add_waiting(pull)


def _stored() -> Any:
    return LocalModel.objects.select_related("status").order_by("name")


def _named(names: list[str]) -> list[LocalModel]:
    known = {model.name: model for model in _stored().filter(name__in=names)}
    if missing := [name for name in names if name not in known]:
        raise CommandError(
            f"There is no local model called {', '.join(missing)}. manage.py models list says what there is."
        )
    return [known[name] for name in dict.fromkeys(names)]
