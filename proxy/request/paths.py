"""From a path to a surface: which endpoints it may reach, and what is left of the path for the backend.

Works on the raw bytes, so that a backend sees exactly what the client wrote after the prefix.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from endpoints.profiles import profile_for_prefix, profiles

# `.` and `..` as whole segments, also percent-encoded: a backend might resolve them to a path we do not mean.
DOT_SEGMENT = re.compile(rb"(?:^|[/\\]|%2f|%5c)(?:\.|%2e){1,2}(?:$|[/\\]|%2f|%5c)", re.IGNORECASE)

ANTHROPIC_PATHS = re.compile(rb"/v1/(?:messages|messages/count_tokens|models|models/.*)/?", re.DOTALL)


# A client may ask for any path, and nearly all ask for the same few.
MAX_REMEMBERED_PATHS = 512


@dataclass(frozen=True, slots=True, eq=False)  # there is one of each: its hash is asked for all the time
class Surface:
    """A way in, such as `/olla/vllm-mlx/`. `types` are the backend types behind it, None for any.

    `label` is the word for them in messages; `owned_by` what the model list says, None for each type's own.
    """

    label: str
    types: frozenset[str] | None
    owned_by: str | None

    @property
    def only_type(self) -> str | None:
        """The type of whatever answers here; None when it may be one of several."""
        return next(iter(self.types)) if self.types is not None and len(self.types) == 1 else None

    def admits(self, backend_type: str) -> bool:
        return self.types is None or backend_type in self.types


@dataclass(frozen=True, slots=True)
class Place:
    """A surface and the path at the backend, with its leading slash."""

    surface: Surface
    path: bytes


@lru_cache(maxsize=MAX_REMEMBERED_PATHS)
def place_of(raw_path: bytes) -> Place | None:
    """Where a request for `/v1/…` or `/olla/<prefix>/…` goes, None when there is no such place."""
    if raw_path.startswith(b"/v1/"):
        return Place(openai_surface(), raw_path)
    parts = raw_path.split(b"/", 3)
    if len(parts) < 4 or parts[1] != b"olla":  # noqa: PLR2004 - "", "olla", prefix, rest
        return None
    if parts[2] == b"anthropic" and not ANTHROPIC_PATHS.fullmatch(b"/" + parts[3]):
        return None
    surface = surface_for(parts[2].decode("latin-1"))
    return Place(surface, b"/" + parts[3]) if surface else None


@lru_cache(maxsize=64)
def surface_for(prefix: str) -> Surface | None:
    """The surface behind `/olla/<prefix>/`. `openai` means every type that speaks OpenAI's API."""
    if prefix == "proxy":
        return Surface("healthy", None, None)
    if prefix == "openai":
        return openai_surface()
    if prefix == "anthropic":
        return anthropic_surface()
    found = profile_for_prefix(prefix)
    return Surface(found.name, frozenset({found.name}), found.owned_by) if found else None


@lru_cache(maxsize=1)
def openai_surface() -> Surface:
    return Surface(
        "OpenAI-compatible", frozenset(each.name for each in profiles() if each.speaks_openai), None
    )


@lru_cache(maxsize=1)
def anthropic_surface() -> Surface:
    """Every type that speaks Anthropic's API, or OpenAI's, into which it is translated."""
    names = frozenset(each.name for each in profiles() if each.speaks_anthropic or each.speaks_openai)
    return Surface("Anthropic-speaking", names, None)


@lru_cache(maxsize=MAX_REMEMBERED_PATHS)
def has_dot_segments(path: bytes) -> bool:
    return b"." in path.replace(b"%2e", b".").replace(b"%2E", b".") and bool(DOT_SEGMENT.search(path))
