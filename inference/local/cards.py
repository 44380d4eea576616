"""A local model as people see it: its state in words, how far it is, and what can be done with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from inference.loading.model_folder import DEMO
from inference.local import buttons, hosts, record, words
from inference.local.choices import ON_THE_MOVE, Kind, State, Wanted
from inference.local.estimate import Estimate, estimate
from inference.models import LocalModel
from ollaproject.wire.numbers import size

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from inference.models import LocalModelStatus, ModelHost

KIND_WORDS = {Kind.CHAT: _("chat"), Kind.EMBEDDING: _("embeddings"), Kind.BOTH: _("chat and embeddings")}
SENTENCES = {
    State.STOPPED: _("{name} is stopped."),
    State.DOWNLOADING: _("{name} is being downloaded."),
    State.VERIFYING: _("{name} is being verified."),
    State.LOADING: _("{name} is being loaded."),
    State.READY: _("{name} is ready."),
    State.UNLOADED: _("{name} is unloaded."),
    State.STOPPING: _("{name} is being stopped."),
    State.FAILED: _("{name} has failed."),
}


@dataclass(frozen=True, slots=True)
class Action:
    """A button as it is shown. `question` is asked before, if there is one."""

    name: str
    label: str
    icon: str
    question: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """`said` is how far it is, or why it is as it is. `percent` is None while nobody knows how far."""

    id: int
    name: str
    state: State
    said: str
    source: str
    kind: str
    host: str
    since: datetime | None
    last_used_at: datetime | None
    memory: str
    done: int
    total: int
    percent: int | None
    pinned: bool
    aliases: tuple[str, ...]
    endpoint_id: int | None
    estimate: Estimate | None
    actions: tuple[Action, ...]

    @property
    def sentence(self) -> str:
        """`small is ready.`"""
        return str(SENTENCES[self.state]).format(name=self.name)

    @property
    def where(self) -> str:
        """`house/small · on mini-2`, without what its name says already."""
        parts = [self.source] if self.source != self.name else []
        if self.host:
            parts.append(gettext("on {host}").format(host=self.host))
        return " · ".join(parts)

    @property
    def moves(self) -> bool:
        return self.state in ON_THE_MOVE

    @property
    def failed(self) -> bool:
        return self.state == State.FAILED


def all_cards(machines: Sequence[ModelHost]) -> list[Card]:
    """Of every local model, by name. `machines` are those whose supervisors are alive."""
    return cards_of(LocalModel.objects.select_related("status").order_by("name"), machines)


def cards_of(models: Iterable[LocalModel], machines: Sequence[ModelHost]) -> list[Card]:
    found = list(models)
    statuses = record.statuses(found)
    return [card_of(model, statuses[model.pk], machines) for model in found]


def card_of(model: LocalModel, status: LocalModelStatus, machines: Sequence[ModelHost]) -> Card:
    rests = status.state in (State.STOPPED, State.UNLOADED, State.FAILED)
    return Card(
        id=model.pk,
        name=model.name,
        state=State(status.state),
        said=said_of(model, status, machines),
        source=source_words(model),
        kind=str(KIND_WORDS[Kind(model.kind)]),
        host=status.host or model.host,
        since=status.since,
        last_used_at=status.last_used_at,
        memory=size(status.memory_bytes) if status.memory_bytes else "",
        done=status.done,
        total=status.total,
        percent=words.percent(status),
        pinned=model.pinned,
        aliases=tuple(model.aliases),
        endpoint_id=status.endpoint_id,
        estimate=estimate(model, status.facts, machines) if rests else None,
        actions=tuple(
            Action(name, str(each.label), each.icon, each.asks(model, status))
            for name, each in buttons.fitting(model, status)
        ),
    )


def said_of(model: LocalModel, status: LocalModelStatus, machines: Sequence[ModelHost]) -> str:
    """How far it has come, else why it is as it is, else what keeps it from moving."""
    waits = model.wanted in (Wanted.RUNNING, Wanted.DOWNLOADED) and status.state in (
        State.STOPPED,
        State.UNLOADED,
    )
    if (waits or model.files_unwanted) and not any(model.host in ("", each.name) for each in machines):
        return waits_for(model)
    return words.progress(status) or words.reason(status)


def waits_for(model: LocalModel) -> str:
    """What there is to do for a model that no machine looks after."""
    if model.host:
        said = gettext("It waits for a supervisor on {host}: manage.py serve_models is one.")
        return said.format(host=model.host)
    return gettext("It waits for a supervisor: manage.py serve_models is one.")


def source_words(model: LocalModel) -> str:
    """Where its files come from: `mlx-community/X, revision 3f2a`, with the embedding model beside it."""
    demo = gettext("the demo embedding model")
    source = model.source
    if source == DEMO:
        source = demo if model.kind == Kind.EMBEDDING else gettext("the demo model")
    if model.revision:
        source += gettext(", revision {revision}").format(revision=model.revision)
    if model.kind != Kind.BOTH:
        return source
    if model.embedding_source == DEMO:
        return source + gettext(", with {model}").format(model=demo)
    return source + gettext(", with {model} for embeddings").format(model=model.embedding_source)


def for_dashboard() -> list[Card]:
    """Those that are on the move or have failed: what a person may want to know beside the endpoints."""
    busy = LocalModel.objects.filter(status__state__in=(*ON_THE_MOVE, State.FAILED))
    return cards_of(busy.select_related("status").order_by("name"), hosts.alive())


def summary(cards: Sequence[Card]) -> str:
    """`2 of 3 local models are ready.`"""
    ready = sum(card.state == State.READY for card in cards)
    if len(cards) == 1:
        return cards[0].sentence
    if ready == len(cards):
        return gettext("All {number} local models are ready.").format(number=ready)
    said = ngettext(
        "{ready} of {number} local models is ready.", "{ready} of {number} local models are ready.", ready
    )
    return said.format(ready=ready, number=len(cards))
