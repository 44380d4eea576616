"""The local model that OLLA_MODEL and OLLA_EMBEDDING_MODEL name: a row like any other, kept as they say."""

from __future__ import annotations

from pathlib import Path

from inference.loading.demo_names import CHAT_NAME
from inference.loading.model_folder import DEMO
from inference.local import record, wishes
from inference.local.choices import Kind, Wanted
from inference.models import LocalModel


def ensure(*, chat: str, embedding: str, port: int) -> LocalModel:
    """The row of this model, made on the first start. Later the settings decide its source, kind and port,
    and a person everything else."""
    source, beside = _whole_path(chat), _whole_path(embedding)
    name = name_of(source)
    model = (
        LocalModel.objects.filter(from_settings=True).first() or LocalModel.objects.filter(name=name).first()
    )
    if model is None:
        model = LocalModel(name=name)
    if model.source != source:
        model.name, model.revision = name, ""
    model.source, model.embedding_source, model.port = source, beside, port
    model.kind = Kind.BOTH if beside else Kind.CHAT
    model.from_settings = True
    model.full_clean()
    model.save()
    record.status_of(model)
    if (
        model.autostart
    ):  # wished here and not first by the supervisor: whoever waits for it may look before that
        wishes.start(model)
    return model


def leave_out() -> None:
    """This start does without it: it rests until a person starts it. Others go on as they are wanted."""
    for model in LocalModel.objects.filter(from_settings=True).exclude(wanted=Wanted.STOPPED):
        wishes.stop(model)


def name_of(source: str) -> str:
    """What clients call a model that was given no name: its Hugging Face id, or its folder's name."""
    if source == DEMO:
        return CHAT_NAME
    return Path(source).name if Path(source).is_absolute() else source


def _whole_path(source: str) -> str:
    """A folder may be given relative to where a person is; the supervisor is somewhere else."""
    folder = Path(source).expanduser()
    return str(folder.resolve()) if source not in ("", DEMO) and folder.is_dir() else source
