"""Reads lists of models, in whatever shape a backend type answers them; the profile says which key is which.

Only names matter for routing. All else is decoration: where it is not what it should be, it is left out.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from endpoints.errors import DiscoveryError
from endpoints.health.findings import FoundModel
from endpoints.profiles.schema import ModelList
from ollaproject.wire.unreadable import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from endpoints.profiles.schema import LoadedList, Memory, Properties

MAX_MODELS = 10_000
MAX_MODEL_NAME_LENGTH = 300
MAX_WORD_LENGTH = 60
MAX_INTEGER = 2**31 - 1
MAX_SIZE_BYTES = 2**50
OPENAI = ModelList()
SCALES = ((1e12, "T"), (1e9, "B"), (1e6, "M"))


def parse(body: bytes, shape: ModelList = OPENAI) -> tuple[FoundModel, ...]:
    """The models of a list, each name once. Raises DiscoveryError, which says what is wrong.

    A list in OpenAI's shape is read too: an operator may have pointed the model URL at that one.
    """
    document = _document(body)
    entries = value_at(document, shape.entries)
    if not isinstance(entries, list) and isinstance(value_at(document, OPENAI.entries), list):
        shape, entries = OPENAI, document[OPENAI.entries]
    if not isinstance(entries, list):
        raise DiscoveryError(
            f'the answer is not a list of models (an object with a list called "{shape.entries}")'
        )
    if len(entries) > MAX_MODELS:
        raise DiscoveryError(f"the list holds {len(entries)} models, more than {MAX_MODELS}")
    found = {model.name: model for model in (_model(entry, shape) for entry in entries)}
    return tuple(found.values())


def with_loaded(models: Iterable[FoundModel], body: bytes, shape: LoadedList) -> tuple[FoundModel, ...]:
    """The same models, each with whether it is in memory. An answer that is no such list changes nothing."""
    entries = value_at(_document_or_none(body), shape.entries)
    if not isinstance(entries, list):
        return tuple(models)
    contexts: dict[str, int | None] = {}
    for entry in entries:
        name = entry if isinstance(entry, str) else _first_text(entry, shape.name)
        if name and (not shape.flag or value_at(entry, shape.flag) is True):
            contexts[name] = _whole_number(value_at(entry, shape.context)) or None
    return tuple(
        replace(
            model,
            loaded=model.name in contexts,
            max_model_len=contexts.get(model.name) or model.max_model_len,
        )
        for model in models
    )


def with_properties(models: tuple[FoundModel, ...], body: bytes, shape: Properties) -> tuple[FoundModel, ...]:
    """What a server says of its one model, put to that. Nothing is added where it has several."""
    document = _document_or_none(body)
    if len(models) != 1 or document is None:
        return models
    context = _whole_number(value_at(document, shape.context)) or None
    able = {word for word, key in shape.capabilities.items() if value_at(document, key) is True}
    only = models[0]
    return (
        replace(
            only,
            max_model_len=context or only.max_model_len,
            capabilities=tuple(sorted(able.union(only.capabilities))),
        ),
    )


def read_memory(body: bytes, shape: Memory) -> int | None:
    """How many bytes an endpoint's models take, None when the answer does not say so."""
    document = _document_or_none(body)
    entries = value_at(document, shape.entries) if shape.entries else [document]
    if not isinstance(entries, list):
        return None
    sizes = [_memory_of(entry, shape) for entry in entries]
    known = [size for size in sizes if size is not None]
    return sum(known) if known or not sizes else None


def _memory_of(entry: Any, shape: Memory) -> int | None:
    for key, unit in shape.keys.items():
        said = value_at(entry, key)
        if (
            isinstance(said, int | float)
            and not isinstance(said, bool)
            and 0 <= said * unit <= MAX_SIZE_BYTES
        ):
            return int(said * unit)
    return None


def value_at(document: Any, key: str) -> Any:
    """What stands at a dotted key, None when nothing does. A number is a position in a list."""
    if not key:
        return None
    for part in key.split("."):
        if isinstance(document, dict):
            document = document.get(part)
        elif isinstance(document, list) and part.isdigit() and int(part) < len(document):
            document = document[int(part)]
        else:
            return None
    return document


def _document(body: bytes) -> Any:
    try:
        return json.loads(body)
    except UNREADABLE:
        raise DiscoveryError("the answer is not JSON") from None


def _document_or_none(body: bytes) -> Any:
    try:
        return _document(body)
    except DiscoveryError:
        return None


def _model(entry: Any, shape: ModelList) -> FoundModel:
    name = _first_text(entry, shape.name)
    if not name or not name.isprintable():
        raise DiscoveryError(f'an entry of the list has no "{shape.name[0]}"')
    if len(name) > MAX_MODEL_NAME_LENGTH:
        raise DiscoveryError(f"a model's id is longer than {MAX_MODEL_NAME_LENGTH} characters")
    state = value_at(entry, shape.state)
    contexts = (_whole_number(value_at(entry, key)) for key in shape.context)
    return FoundModel(
        name=name,
        created=_moment(value_at(entry, shape.created)),
        max_model_len=next((length for length in contexts if length), None),
        family=_word(value_at(entry, shape.family)),
        parameter_size=_parameters(value_at(entry, shape.parameters)),
        quantization=_word(value_at(entry, shape.quantization)),
        size_bytes=_whole_number(value_at(entry, shape.size_bytes), most=MAX_SIZE_BYTES) or None,
        capabilities=_capabilities(entry, shape),
        loaded=state in shape.loaded if isinstance(state, str) else None,
    )


def _capabilities(entry: Any, shape: ModelList) -> tuple[str, ...]:
    found: set[str] = set()
    for key in shape.capabilities:
        said = value_at(entry, key)
        for word in said if isinstance(said, list) else [said]:
            if isinstance(word, str):
                found.update(shape.capability_words.get(word, ()))
    return tuple(sorted(found))


def _first_text(entry: Any, keys: Iterable[str]) -> str:
    texts = (value_at(entry, key) for key in keys)
    return next((text for text in texts if isinstance(text, str) and text), "")


def _word(value: Any) -> str:
    return value[:MAX_WORD_LENGTH] if isinstance(value, str) and value.isprintable() else ""


def _parameters(value: Any) -> str:
    """`3.2B`, also from a count of parameters."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return _word(value)
    for scale, letter in SCALES:
        if value >= scale:
            return f"{value / scale:.1f}".removesuffix(".0") + letter
    return ""


def _moment(value: Any) -> int | None:
    """Unix time, also from ISO 8601."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
            value = moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
        except (ValueError, OverflowError):
            return None
    return _whole_number(value)


def _whole_number(value: Any, *, most: int = MAX_INTEGER) -> int | None:
    """`value` where it is a number that a row can hold. Decoration need not be right to be tolerated."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= most:
        return None
    return int(value)
