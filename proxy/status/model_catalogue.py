"""`/olla/models`: every model that the fleet has, once, whatever serves it; and all that is known of one.

Unlike the lists under `/v1/models`, which clients choose from, this shows what cannot be served now, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from endpoints.known_models import model_names
from endpoints.profiles import profile, profile_for_prefix
from endpoints.routing.snapshot import snapshot
from ollaproject.wire.openai_errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from endpoints.routing.snapshot import ServedModel, Target
    from proxy.access.key_table import Holder

FORMATS = ("unified", "openai", "vllm-mlx")
FILTERS = ("format", "endpoint", "family", "type", "available", "capability", "include_unavailable")
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
OWNER = "olla"


@dataclass(frozen=True, slots=True)
class Known:
    """A model, and the endpoints that have it: those of highest priority first."""

    name: str
    places: tuple[tuple[Target, ServedModel], ...]

    @property
    def available(self) -> bool:
        return any(target.routable for target, _ in self.places)

    @property
    def family(self) -> str:
        return self._first("family") or model_names.parse(self.name).family

    @property
    def capabilities(self) -> list[str]:
        found = {word for _, model in self.places if model.details for word in model.details.capabilities}
        return sorted(found or model_names.parse(self.name).capabilities)

    @property
    def context(self) -> int | None:
        lengths = [model.max_model_len for _, model in self.places if model.max_model_len]
        return max(lengths, default=None) or self._first("context")

    @property
    def aliases(self) -> list[str]:
        return sorted(name for name, alias in snapshot().aliases.items() if self.name in alias.models)

    def detail(self, field: str) -> Any:
        """What is known of a detail, at the first endpoint that knows it; else what the name tells."""
        return self._first(field) or getattr(model_names.parse(self.name), field, None)

    def _first(self, field: str) -> Any:
        told = (getattr(model.details, field, None) for _, model in self.places)
        return next((value for value in told if value), None)


def known_models(holder: Holder | None = None) -> list[Known]:
    """Every model of the routing table that the holder of a key may use, by name."""
    found: dict[str, list[tuple[Target, ServedModel]]] = {}
    for target in snapshot().targets:
        if holder is not None and not holder.endpoints.admit(target.name):
            continue
        for model in target.models:
            if holder is None or holder.models.admit(model.name):
                found.setdefault(model.name, []).append((target, model))
    return [Known(name, tuple(places)) for name, places in sorted(found.items())]


def listing(query: bytes, holder: Holder | None) -> dict[str, Any]:
    """The catalogue as its query asks for it. Raises ApiError 400 for a filter that there is not."""
    asked = dict(parse_qsl(query.decode("latin-1")))
    for name in asked:
        if name not in FILTERS:
            raise _refused(name, f"There is no filter {name!r}. There are: {', '.join(FILTERS)}.")
    form = asked.get("format", FORMATS[0])
    if form not in FORMATS:
        raise _refused("format", f"There is no format {form!r}. There are: {', '.join(FORMATS)}.")
    chosen = [model for model in known_models(holder) if _passes(model, asked)]
    return {"object": "list", "data": [_entry(model, form) for model in chosen]}


def _passes(model: Known, asked: Mapping[str, str]) -> bool:
    return all(_FILTER[name](model, value) for name, value in asked.items() if name in _FILTER)


def _of_type(model: Known, value: str) -> bool:
    wanted = profile_for_prefix(value)
    if wanted is None:
        raise _refused("type", f"There is no backend type {value!r}.")
    return any(target.type == wanted.name for target, _ in model.places)


def _is_available(model: Known, value: str) -> bool:
    if value.lower() not in BOOLEANS:
        raise _refused("available", "Write available=true or available=false.")
    return model.available == BOOLEANS[value.lower()]


_FILTER: dict[str, Callable[[Known, str], bool]] = {
    "endpoint": lambda model, value: any(target.name == value for target, _ in model.places),
    "family": lambda model, value: model.family == value.lower(),
    "type": _of_type,
    "available": _is_available,
    "capability": lambda model, value: value.lower() in model.capabilities,
}


def _entry(model: Known, form: str) -> dict[str, Any]:
    created = min(served.created for _, served in model.places)
    plain = {"id": model.name, "object": "model", "created": created}
    if form == "vllm-mlx":
        publisher = model.detail("publisher") or "vllm-mlx"
        return {**plain, "owned_by": publisher, "root": model.name, "parent": None, "permission": []}
    if form == "openai":
        return {**plain, "owned_by": profile(model.places[0][0].type).owned_by}
    return {**plain, "owned_by": OWNER, "olla": _unified(model)}


def _unified(model: Known) -> dict[str, Any]:
    return {
        "family": model.family,
        "variant": model.detail("variant") or "",
        "parameter_size": model.detail("parameter_size") or "",
        "quantization": model.detail("quantization") or "",
        "max_context_length": model.context,
        "aliases": model.aliases,
        "availability": [
            {"endpoint": target.name, "state": state_of(target, served)} for target, served in model.places
        ],
        "capabilities": model.capabilities,
    }


def state_of(target: Target, model: ServedModel) -> str:
    """`loaded` or `not-loaded` where that is known, `available` where not; else why it cannot be had."""
    if not target.routable:
        return target.mode.value if target.mode.value != "active" else target.status.value
    loaded = model.details.loaded if model.details else None
    return {True: "loaded", False: "not-loaded", None: "available"}[loaded]


def one(name: str, holder: Holder | None) -> dict[str, Any] | None:
    """A model by its name or one of its aliases, with everything that is known; None when there is none."""
    models = {model.name: model for model in known_models(holder)}
    alias = snapshot().aliases.get(name) or snapshot().matching(name)
    names = (name, *(alias.models if alias else ()))
    model = next((models[each] for each in names if each in models), None)
    if model is None:
        return None
    billions = model.detail("billions")
    return {
        "id": model.name,
        "family": model.family,
        "variant": model.detail("variant") or "",
        "parameter_size": model.detail("parameter_size") or "",
        "parameter_count": round(billions * 1e9) if billions else None,
        "quantization": model.detail("quantization") or "",
        "format": _format(model.name),
        "aliases": model.aliases,
        "capabilities": model.capabilities,
        "max_context_length": model.context,
        "total_disk_size": sum(_sizes(model)),
        "endpoints": [_place(target, served) for target, served in model.places],
        "loaded_endpoints": [
            target.name for target, served in model.places if state_of(target, served) == "loaded"
        ],
    }


def _place(target: Target, served: ServedModel) -> dict[str, Any]:
    return {
        "endpoint": target.name,
        "type": target.type,
        "state": state_of(target, served),
        "max_context_length": served.max_model_len,
    }


def _sizes(model: Known) -> Iterable[int]:
    return (served.details.size_bytes or 0 for _, served in model.places if served.details)


def _format(name: str) -> str:
    """What kind of files it is made of, as far as its name says so."""
    lowered = name.lower()
    if "gguf" in lowered or ":" in lowered:
        return "gguf"
    return "mlx" if "mlx" in lowered or "bit" in model_names.parse(name).quantization.lower() else ""


def _refused(name: str, message: str) -> ApiError:
    return ApiError(400, "invalid_query", message, param=name)
