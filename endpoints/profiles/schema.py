"""The fields of a profile. Each YAML file beside this one is read into a `Profile`, or refused.

A key of JSON is written with dots, `details.family`; a number in it is a position in a list, `data.0.id`.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

Word = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
UrlPath = Annotated[str, msgspec.Meta(pattern=r"^/\S*$")]
Seconds = Annotated[float, msgspec.Meta(gt=0)]
Billions = Annotated[float, msgspec.Meta(ge=0)]


class HealthBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a health answer's JSON says how the server is. Words are compared in lower case.

    `loading_key` is read from an answer whose status says failure: with one of `loading` in it, a model is
    being loaded.
    """

    status_key: str = ""
    healthy: frozenset[str] = frozenset()
    warming: frozenset[str] = frozenset()
    loaded_key: str = ""
    residency_key: str = ""
    residency_warming: frozenset[str] = frozenset()
    residency_asleep: frozenset[str] = frozenset()
    loading_key: str = ""
    loading: frozenset[str] = frozenset()


class ModelList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to read the list of models; the defaults are OpenAI's. An empty key: the list does not say that.

    `name` and `context` are keys of which the first that is there counts. `capabilities` are keys of a word
    or of a list of words, and `capability_words` says what each word stands for.
    """

    entries: str = "data"
    name: tuple[str, ...] = ("id",)
    created: str = "created"
    context: tuple[str, ...] = ("max_model_len",)
    size_bytes: str = ""
    family: str = ""
    parameters: str = ""
    quantization: str = ""
    capabilities: tuple[str, ...] = ()
    capability_words: dict[str, tuple[Word, ...]] = {}
    state: str = ""
    loaded: frozenset[str] = frozenset()


class LoadedList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A second route, which says what is in memory. `flag` is a key that must be true, where there is one."""

    path: UrlPath
    entries: str
    name: tuple[str, ...] = ("id",)
    flag: str = ""
    context: str = ""


class Properties(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A route of a server with one model that knows more of it than the list does.

    `capabilities` are keys that are true where the model can do that.
    """

    path: UrlPath
    context: str = ""
    capabilities: dict[Word, str] = {}


class Memory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A route that says how much memory a server's models take.

    `keys` are of which the first that is there counts, with the number of bytes that it is counted in. With
    `entries` the figures of all entries of that list are added up.
    """

    path: UrlPath
    keys: dict[str, Annotated[int, msgspec.Meta(ge=1)]]
    entries: str = ""


class Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sign by which `auto` knows the type: what a GET of `path` answers with a status below 300.

    The body's `key` must be there, and be one of `words` where there are any; a `text` must be in the body;
    `header` must hold `header_text`. All that are given must be true. Of two types the surer one wins.
    """

    path: UrlPath
    key: str = ""
    words: frozenset[str] = frozenset()
    text: str = ""
    header: str = ""
    header_text: str = ""
    certainty: Annotated[int, msgspec.Meta(ge=1, le=100)] = 50


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A backend type, with the defaults of its endpoints.

    `prefixes` are the words it answers to in `/olla/<prefix>/`. `health_body` is None where the status code
    alone says how the server is. `rewrites` are paths that stand elsewhere there: one that ends in a slash
    stands for all below it. `load_seconds` is how long a model takes to load, by billions of parameters from
    which on that is so; `concurrent_by_gigabytes` how many requests at once, by the size of its weights.
    """

    name: Word
    display_name: str
    prefixes: Annotated[tuple[Word, ...], msgspec.Meta(min_length=1)]
    owned_by: str
    speaks_openai: bool
    health_path: UrlPath
    models_path: UrlPath
    default_priority: Annotated[int, msgspec.Meta(ge=0)]
    max_concurrent: Annotated[int, msgspec.Meta(ge=1)]
    connect_timeout_seconds: Seconds
    first_byte_timeout_seconds: Seconds
    idle_timeout_seconds: Seconds
    home: str = ""
    speaks_anthropic: bool = False
    counts_tokens: bool = False  # /v1/messages/count_tokens
    speaks_responses: bool = False
    default_port: int | None = None
    health_body: HealthBody | None = None
    model_list: ModelList = ModelList()
    loaded_list: LoadedList | None = None
    properties: Properties | None = None
    memory: Memory | None = None
    detection: tuple[Mark, ...] = ()
    rewrites: dict[UrlPath, UrlPath] = {}
    capability_patterns: dict[Word, tuple[str, ...]] = {}
    load_seconds: dict[Billions, Seconds] = {}
    concurrent_by_gigabytes: dict[Billions, Annotated[int, msgspec.Meta(ge=1)]] = {}
    quirks: tuple[str, ...] = ()

    def concurrent_with(self, gigabytes: float) -> int:
        """How many requests at once one with so large a model gets."""
        fitting = [start for start in self.concurrent_by_gigabytes if start <= gigabytes]
        return self.concurrent_by_gigabytes[max(fitting)] if fitting else self.max_concurrent

    def load_seconds_of(self, billions: float | None) -> float:
        """How long a model of so many billion parameters may take to load; the longest, if that is unknown.

        0 where the profile says nothing.
        """
        known = [
            seconds for start, seconds in self.load_seconds.items() if billions is None or start <= billions
        ]
        return max(known, default=0.0)
