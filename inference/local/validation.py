"""What a local model may be, as far as that can be said before its files are here, in sentences."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from inference import server_arguments
from inference.loading.model_folder import DEMO, HUB_ID
from inference.local.choices import Kind, Link
from inference.options import RESERVED_ARGUMENTS

if TYPE_CHECKING:
    from inference.models import LocalModel

# What the supervisor decides itself; given twice, one of the two would be a lie.
OUR_OPTIONS = {
    "--port": _("the field for the port"),
    "--host": _("the supervisor's own --bind"),
    "--uds": _("nothing: its endpoint is at a port"),
    "--api-key": _("nothing: each start makes a key of its own"),
    "--served-model-name": _("the field for the name"),
    "--embedding-model": _("the field for the embedding model"),
    "--max-batch-size": _("the field for answers at once"),
    "--prompt-cache-bytes": _("the field for the prompt cache"),
    "--disk-cache-dir": _("the field for the prompt cache on disk"),
    "--disk-cache-bytes": _("the field for the prompt cache on disk"),
    "--context-length": _("the field for the longest context"),
    "--draft-model": _("the field for the draft model"),
    "--adapter": _("the field for the adapter"),
    "--chat-template-options": _("the field for the chat template's options"),
    "--runs-own-code": _("the field for the model's own code"),
}
TOO_SOON = _("Give one second at least, or leave this empty: then it stays.")
ADDRESS = re.compile(r"[A-Za-z0-9@:_.-]+")


def validate_name(name: str) -> None:
    if not name.isprintable() or name != name.strip():
        raise ValidationError(gettext("A model's name is printable text without space at its ends."))


def validate_server_options(text: str) -> None:
    """Raise unless `manage.py serve_model` takes them, or when one of them is a field of its own."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValidationError(gettext("These options cannot be read: {error}.").format(error=error)) from None
    for word in words:
        instead = OUR_OPTIONS.get(word.partition("=")[0])
        if instead:
            said = gettext("{option} has its own place: {instead}.")
            raise ValidationError(said.format(option=word.partition("=")[0], instead=instead))
    try:
        server_arguments.check(words)
    except server_arguments.Unreadable as error:
        raise ValidationError(
            gettext("manage.py serve_model does not take these options: {error}.").format(error=error)
        ) from None


def validate_local_model(model: LocalModel) -> None:
    """Raise one ValidationError with every mistake, by field."""
    checks = {
        "source": problem_of_source(model.source),
        "embedding_source": _problem_beside(model),
        "revision": _problem_of_revision(model),
        "aliases": _problem_of_aliases(model.aliases),
        "draft_source": _problem_of_draft(model),
        "adapter_path": _problem_of_adapter(model),
        "chat_template_options": _problem_of_template_options(model.chat_template_options),
        "keep_alive_seconds": str(TOO_SOON) if model.keep_alive_seconds == 0 else "",
        "spread_over": _problem_of_machines(model),
        "spread_hostfile": _problem_of_hostfile(model),
    }
    mistakes = {field: [problem] for field, problem in checks.items() if problem}
    if mistakes:
        raise ValidationError(mistakes)


def _problem_beside(model: LocalModel) -> str:
    if model.kind == Kind.BOTH:
        if not model.embedding_source:
            return gettext("Name the embedding model that is to be served beside it.")
        return problem_of_source(model.embedding_source)
    if model.embedding_source:
        return gettext(
            "Only a chat model has an embedding model beside it: choose that kind, or leave this empty."
        )
    return ""


def _problem_of_revision(model: LocalModel) -> str:
    if model.revision and not is_hub_id(model.source):
        return gettext("Only a model from Hugging Face has revisions: leave this empty.")
    return ""


def _problem_of_aliases(aliases: object) -> str:
    if isinstance(aliases, list) and all(isinstance(name, str) and name.strip() for name in aliases):
        return ""
    return gettext("Aliases are a list of names.")


def _problem_of_draft(model: LocalModel) -> str:
    if not model.draft_source:
        return ""
    if model.kind == Kind.EMBEDDING:
        return gettext("An embedding model says nothing that could be guessed: leave this empty.")
    if model.spread_over:
        return gettext("A model that several machines run together has no draft model: leave this empty.")
    return problem_of_source(model.draft_source)


def _problem_of_adapter(model: LocalModel) -> str:
    if not model.adapter_path:
        return ""
    if model.kind == Kind.EMBEDDING:
        return gettext("Only chat models take an adapter: leave this empty.")
    if not Path(model.adapter_path).expanduser().is_absolute():
        return gettext("Give the whole path of the adapter's folder, from the root on.")
    return ""


def _problem_of_template_options(options: object) -> str:
    if not isinstance(options, dict):
        return gettext('Options are a JSON object, such as {"enable_thinking": false}.')
    taken = sorted(RESERVED_ARGUMENTS & options.keys())
    if not taken:
        return ""
    return gettext("{name!r} is decided by the server for each request.").format(name=taken[0])


def _problem_of_machines(model: LocalModel) -> str:
    machines = model.spread_over
    if not isinstance(machines, list) or not all(
        isinstance(name, str) and ADDRESS.fullmatch(name) for name in machines
    ):
        return gettext("Machines are a list of host names or addresses.")
    if len(machines) == 1:
        return gettext("One machine alone needs no entry here: name two or more, or none.")
    if machines and model.kind != Kind.CHAT:
        return gettext("Several machines can run a chat model together, and no other kind.")
    return ""


def _problem_of_hostfile(model: LocalModel) -> str:
    if not model.spread_hostfile:
        if not model.spread_over or model.spread_through != Link.JACCL:
            return ""
        return gettext("JACCL needs the file that mlx.distributed_config --backend jaccl writes.")
    if not Path(model.spread_hostfile).expanduser().is_absolute():
        return gettext("Give the whole path of the file, from the root on.")
    return ""


def problem_of_source(source: str) -> str:
    """What is wrong with the name of a model's files, empty if it may be right."""
    source = source.strip()
    if source == DEMO or is_hub_id(source):
        return ""
    if source.startswith(("/", "~", ".")):
        folder = Path(source).expanduser()
        return "" if folder.is_absolute() else gettext("Give the whole path of the folder, from the root on.")
    return gettext(
        "{source!r} is neither a Hugging Face id such as mlx-community/Llama-3.2-3B-Instruct-4bit, nor the "
        "path of a folder, nor the word demo."
    ).format(source=source)


def is_hub_id(source: str) -> bool:
    return bool(HUB_ID.fullmatch(source)) and not source.startswith((".", "/", "~"))
