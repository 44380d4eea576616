"""A look at a model's own files before anything is started: they must fit, and tell how large it is.

What is wrong for good is refused, with the field that it is about. What cannot be seen from here, as a hub
that does not answer or a folder of another machine, is remarked: the supervisor finds out when it starts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext, gettext_noop

from inference.errors import DownloadInterrupted, ModelError, ModelNotFound
from inference.loading import footprint, model_folder
from inference.loading.demo_names import CHAT_NAME, EMBEDDING_NAME
from inference.loading.model_folder import DEMO
from inference.local import files, hosts, site
from inference.local.choices import Kind
from inference.local.estimate import estimate
from inference.local.fetch_words import CHAT, EMBEDDING
from ollaproject.sealed import SealBroken
from ollaproject.wire.numbers import size

if TYPE_CHECKING:
    from inference.models import LocalModel, ModelHost

FIELDS = {CHAT: "source", EMBEDDING: "embedding_source"}
# What is downloaded once for a demo model; see inference.loading.demo.
DEMO_DOWNLOAD_BYTES = {CHAT: 93_000_000, EMBEDDING: 84_000_000}
LOST = "Its Hugging Face token cannot be opened with OLLA_ENCRYPTION_KEYS. Enter it again."
OWN_CODE = gettext_noop("It comes with code of its own, which does not run unless you tick that.")
ADAPTER_CONFIG = "adapter_config.json"


@dataclass(slots=True)
class Look:
    """`facts` as in LocalModelStatus. `missing_bytes` are to be downloaded; `context_length` is in tokens."""

    facts: dict[str, dict[str, int]] = field(default_factory=dict)
    missing_bytes: int = 0
    context_length: int = 0
    remarks: list[str] = field(default_factory=list)

    def words(self, model: LocalModel, machines: list[ModelHost]) -> str:
        """`SmolLM needs 5.1 GB, 9.3 GB free on mini-2; 1.9 GB are to be downloaded.`"""
        expected = estimate(model, self.facts, machines)
        parts = [gettext("It {needs}").format(needs=expected.words)] if expected else []
        if self.missing_bytes:
            parts.append(gettext("{size} are to be downloaded").format(size=size(self.missing_bytes)))
        said = f"{'; '.join(parts)}." if parts else ""
        if expected and not expected.fits:
            more = gettext("That is more than is free: unload another model, or choose a smaller one.")
            said = f"{said} {more}"
        return " ".join([said, *self.remarks]).strip()


def look_at(model: LocalModel) -> Look:
    """At all of its files. Raises ValidationError by field for what a person has to mend."""
    found = Look()
    mistakes: dict[str, list[str]] = {}
    for role, source in files.sources(model).items():
        name = "source" if model.kind == Kind.EMBEDDING else FIELDS.get(role, f"{role}_source")
        try:
            _look_at(model, role, source, found)
        except DownloadInterrupted as error:
            later = gettext("It is looked at again when it starts.")
            found.remarks.append(f"{error} {later}")
        except ModelError as error:
            mistakes[name] = [str(error)]
    if problem := _problem_of_adapter(model):
        mistakes["adapter_path"] = [problem]
    if model.context_limit and found.context_length and model.context_limit > found.context_length:
        most = gettext("The model was made for {number} tokens at most.")
        mistakes["context_limit"] = [most.format(number=found.context_length)]
    if mistakes:
        raise ValidationError(mistakes)
    return found


def _look_at(model: LocalModel, role: str, source: str, found: Look) -> None:
    if source == DEMO:
        folder = files.models_dir() / (EMBEDDING_NAME if role == EMBEDDING else CHAT_NAME)
        if folder.exists():
            found.facts[role] = footprint.of_folder(folder).as_json()
        else:
            found.missing_bytes += DEMO_DOWNLOAD_BYTES.get(role, 0)
        return
    path = Path(source).expanduser()
    if path.is_absolute():
        if not _is_on_this_machine(model, path):
            later = gettext("{source} is looked at on its machine when it starts.")
            found.remarks.append(later.format(source=source))
            return
        _take_config(model, role, model_folder.read_config(path), found)
        model_folder.check_tokenizer(path)
        found.facts[role] = footprint.of_folder(path).as_json()
        return
    _look_at_hub(model, role, source, found)


def _look_at_hub(model: LocalModel, role: str, source: str, found: Look) -> None:
    if known := _known_facts(model, role):
        found.facts[role] = known
        return
    from inference.local import hub_look  # noqa: PLC0415 -- half a second that the others spare

    first = next(iter(files.sources(model))) == role
    try:
        token = model.token()
    except SealBroken:
        raise ValidationError({"source": [gettext(LOST)]}) from None
    seen = hub_look.look(source, revision=model.revision if first else "", token=token)
    _take_config(model, role, seen.config, found)
    found.facts[role] = seen.footprint.as_json()
    found.missing_bytes += seen.missing_bytes


def _known_facts(model: LocalModel, role: str) -> dict[str, int] | None:
    """What an earlier look or its download has found of the same files: nobody is asked again."""
    before = type(model).objects.select_related("status").filter(pk=model.pk).first()
    if before is None or files.fingerprint(before) != files.fingerprint(model):
        return None
    return before.status.facts.get(role) if hasattr(before, "status") else None


def _is_on_this_machine(model: LocalModel, path: Path) -> bool:
    """Whether the folder can be seen from here. Raises ModelNotFound when it ought to be here and is not."""
    if path.is_dir():
        return True
    elsewhere = model.host not in ("", site.this_host())
    if elsewhere or any(host.name != site.this_host() for host in hosts.alive()):
        return False
    raise ModelNotFound(f"There is no folder {path} on this machine.")


def _take_config(model: LocalModel, role: str, config: dict[str, Any], found: Look) -> None:
    model_folder.check_role(config, embeds=role == EMBEDDING, name=files.sources(model)[role])
    if "auto_map" in config and not model.runs_own_code:
        found.remarks.append(gettext(OWN_CODE))
    if role == CHAT:
        text = config.get("text_config") or config
        found.context_length = int(text.get("max_position_embeddings") or 0)


def _problem_of_adapter(model: LocalModel) -> str:
    folder = Path(model.adapter_path).expanduser()
    if model.adapter_path and folder.is_dir() and not (folder / ADAPTER_CONFIG).exists():
        return f"{folder} holds no adapter: {ADAPTER_CONFIG} is not there."
    return ""
