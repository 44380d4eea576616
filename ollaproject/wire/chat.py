"""Chat completions as backends answer them, whole and in chunks: what a translation reads of them.

Backends differ in what they leave out, so everything but the choices may be missing.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ollaproject.wire.unreadable import UNREADABLE

Json = dict[str, Any]


class TranslationError(Exception):
    """What a backend answered cannot be said in the client's format. Its text says why, in plain words."""


class BackendFailed(Exception):
    """A backend's error in the middle of its stream."""

    def __init__(self, message: str, code: str | None) -> None:
        super().__init__(message)
        self.code = code


class Details(msgspec.Struct):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class Usage(msgspec.Struct):
    """`prompt_tokens` holds the cached ones, as OpenAI counts."""

    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0
    prompt_tokens_details: Details | None = None
    completion_tokens_details: Details | None = None

    @property
    def prompt(self) -> int:
        return self.prompt_tokens or 0

    @property
    def completion(self) -> int:
        return self.completion_tokens or 0

    @property
    def cached(self) -> int:
        return (self.prompt_tokens_details and self.prompt_tokens_details.cached_tokens) or 0

    @property
    def reasoning(self) -> int:
        return (self.completion_tokens_details and self.completion_tokens_details.reasoning_tokens) or 0


class Function(msgspec.Struct):
    name: str | None = None
    arguments: str | Json | None = None


class Call(msgspec.Struct):
    """A call, or what one has grown by. `index` is its place among the calls of a stream."""

    index: int | None = None
    id: str | None = None
    function: Function = msgspec.field(default_factory=Function)


class Message(msgspec.Struct):
    """A message, or what one has grown by. Backends call thoughts `reasoning_content` or `reasoning`."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[Call] | None = None

    @property
    def thought(self) -> str:
        return self.reasoning_content or self.reasoning or ""

    @property
    def text(self) -> str:
        return (self.content or "") + (self.refusal or "")


class Choice(msgspec.Struct):
    """`stop_reason` is the stop string that ended it, from servers that say so (vLLM's field)."""

    index: int = 0
    message: Message = msgspec.field(default_factory=Message)
    delta: Message = msgspec.field(default_factory=Message)
    finish_reason: str | None = None
    stop_reason: str | int | None = None


class Completion(msgspec.Struct):
    """A whole answer, or one chunk of a stream. `error` stands in a chunk of a backend that has failed."""

    choices: list[Choice] = msgspec.field(default_factory=list)
    usage: Usage | None = None
    error: Any = None


_decode = msgspec.json.Decoder(Completion).decode


def read_completion(body: bytes) -> Completion:
    """A whole answer. Raises TranslationError when it is none."""
    completion = _read(body)
    if not completion.choices:
        raise TranslationError("answered without a choice")
    return completion


def read_chunk(data: bytes) -> Completion:
    """One event's data. Raises TranslationError, or BackendFailed when it says so."""
    chunk = _read(data)
    if chunk.error is not None:
        raise _failure(chunk.error)
    return chunk


def chunk_of(payload: Json) -> Completion:
    """The same from a chunk that was made in this process."""
    return msgspec.convert(payload, Completion)


def _read(body: bytes) -> Completion:
    try:
        return _decode(body)
    except UNREADABLE as error:
        raise TranslationError("answered with something that is no chat completion") from error


def _failure(error: Any) -> BackendFailed:
    said = error if isinstance(error, dict) else {"message": error}
    code = said.get("code")
    return BackendFailed(str(said.get("message") or "failed"), code if isinstance(code, str) else None)
