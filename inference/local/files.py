"""A model's files: which it needs, whether they are here, and how to be rid of them."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings

from inference.loading.demo_names import CHAT_NAME, EMBEDDING_NAME
from inference.loading.model_folder import DEMO
from inference.local.choices import Kind, State
from inference.local.fetch_job import FetchJob
from inference.local.fetch_words import CHAT, DRAFT, EMBEDDING, Job
from inference.local.site import fetch_log_of
from inference.local.validation import is_hub_id
from inference.models import LocalModelStatus
from ollaproject.wire.sizes import size

if TYPE_CHECKING:
    from inference.models import LocalModel


def models_dir() -> Path:
    folder: Path = settings.OLLA_MODELS_DIR
    return folder


def sources(model: LocalModel) -> dict[str, str]:
    """Where its files come from, by role."""
    if model.kind == Kind.EMBEDDING:
        return {EMBEDDING: model.source}
    beside = {EMBEDDING: model.embedding_source} if model.kind == Kind.BOTH else {}
    draft = {DRAFT: model.draft_source} if model.draft_source else {}
    return {CHAT: model.source, **beside, **draft}


def fingerprint(model: LocalModel) -> str:
    """Of all that decides which files it needs: those of another one are not the right ones."""
    parts = [model.kind, model.source, model.revision, model.embedding_source]
    return "|".join([*parts, *filter(None, [model.draft_source, "code" if model.runs_own_code else ""])])


def folders(status: LocalModelStatus) -> list[Path]:
    return [Path(name) for name in (status.folder, status.embedding_folder, status.draft_folder) if name]


def are_here(model: LocalModel, status: LocalModelStatus) -> bool:
    """Whether they were fetched, found whole, and not taken away since."""
    if status.fetched_for != fingerprint(model):
        return False
    return all((folder / "config.json").exists() for folder in folders(status))


def fetch(model: LocalModel) -> FetchJob:
    """Begin to get its files here. Raises SealBroken when its token cannot be opened."""
    job = Job(
        sources(model),
        str(models_dir()),
        model.revision,
        with_code=model.runs_own_code,
        token=model.token(),
    )
    return FetchJob(job, fetch_log_of(model.pk))


def deletable(model: LocalModel) -> list[Path]:
    """What `delete` would remove: never a folder that a person gave."""
    found: list[Path] = []
    for role, source in sources(model).items():
        if source == DEMO:
            found.append(models_dir() / (EMBEDDING_NAME if role == EMBEDDING else CHAT_NAME))
        elif is_hub_id(source):
            found.append(_storage(source))
    return [path for path in found if path.exists()]


def delete(model: LocalModel) -> str:
    """Remove what was downloaded for it, unless another local model needs it. Says what was done."""
    wanted = deletable(model)
    model.files_unwanted = False
    type(model).objects.filter(pk=model.pk).update(files_unwanted=False)
    if not wanted:
        return "There are no files that were downloaded for it."
    others = (
        LocalModelStatus.objects.exclude(pk=model.pk).exclude(state=State.STOPPED).select_related("model")
    )
    kept = [other.model.name for other in others if set(deletable(other.model)) & set(wanted)]
    if kept:
        return f"Its files were kept: {', '.join(kept)} uses them, too."
    freed = sum(size_of(path) for path in wanted)
    for path in wanted:
        shutil.rmtree(path, ignore_errors=True)
    left = [str(path) for path in wanted if path.exists()]
    if left:
        return f"Not all of its files could be deleted: {', '.join(left)} is still there."
    return f"Its files were deleted: {size(freed)} are free again."


def size_of(folder: Path) -> int:
    """Bytes on the disk; a link counts nothing beside what it points to."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file() and not path.is_symlink():
                total += path.stat().st_size
    return total


def _storage(source: str) -> Path:
    from huggingface_hub import constants  # noqa: PLC0415 -- half a second that other models spare
    from huggingface_hub.file_download import repo_folder_name  # noqa: PLC0415

    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=source, repo_type="model")
