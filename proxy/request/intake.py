"""What routing must know of a body: the model's name, and whether a stream is asked for. The bytes go on.

Only these two fields are decoded: on large bodies that is ten times faster than reading the whole JSON. Where
the prompt lies in the bytes is noted beside them, for proxy.request.prefix.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from ollaproject.wire.unreadable import UNREADABLE
from proxy import errors
from proxy.request import multipart
from proxy.request.prefix import Prompt

if TYPE_CHECKING:
    import mmap

# These have no effect but their cost, so they may be tried again elsewhere. Their bodies are JSON, always.
INFERENCE_PATHS = frozenset(
    {
        b"/v1/chat/completions",
        b"/v1/completions",
        b"/v1/embeddings",
        b"/v1/messages",
        b"/v1/messages/count_tokens",
        b"/v1/responses",
        b"/v1/rerank",
        b"/v2/rerank",
        b"/rerank",
        b"/v1/score",
        b"/score",
        b"/tokenize",
        b"/detokenize",
        b"/v1/audio/speech",
    }
)
# The same, but their bodies are forms with a file.
FORM_PATHS = frozenset({b"/v1/audio/transcriptions", b"/v1/audio/translations"})
MAX_MODEL_LENGTH = 300
MODEL = "model"
NOTHING_SAID = msgspec.Raw()


class _Fields(Prompt):
    model: object = None
    stream: object = None
    stream_options: msgspec.Raw = NOTHING_SAID


@dataclass(slots=True)  # frozen it would take four times as long to make
class Asked:
    """`model` is None when the body names none, `prompt` when it cannot be read.

    `stream_options` are the bytes that stand there, empty when there are none.
    """

    model: str | None
    stream: bool
    stream_options: msgspec.Raw = field(default_factory=msgspec.Raw, compare=False, repr=False)
    prompt: Prompt | None = field(default=None, compare=False, repr=False)


NOTHING = Asked(model=None, stream=False)

_decode = msgspec.json.Decoder(_Fields).decode
_decode_keys = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def is_inference(method: str, path: bytes) -> bool:
    return method == "POST" and (path in INFERENCE_PATHS or path.rstrip(b"/") in INFERENCE_PATHS)


def is_repeatable(method: str, path: bytes) -> bool:
    """Whether a request may be tried again elsewhere when an endpoint may have acted on it."""
    return method == "POST" and path.rstrip(b"/") in FORM_PATHS


def read(body: bytes | mmap.mmap, *, inference: bool, content_type: bytes, encoded: bool) -> Asked:
    """What the body asks for.

    On the inference routes a body that is no JSON object is an ApiError. Elsewhere, and where the body is
    compressed, what cannot be read passes untouched and names no model.
    """
    if not body and not inference:
        return NOTHING
    if not encoded and content_type.startswith(multipart.FORM):
        return _read_form(body, content_type)
    if encoded or not (inference or b"json" in content_type):
        return NOTHING
    try:
        fields = _decode(body)
    except UNREADABLE as error:
        if not inference:
            return NOTHING
        raise errors.invalid_json(_problem(body, error)) from None
    model = fields.model
    if inference and model is not None and not isinstance(model, str):
        raise errors.invalid_model("must be a string")
    if isinstance(model, str) and not 0 < len(model) <= MAX_MODEL_LENGTH:
        raise errors.invalid_model(f"must have 1 to {MAX_MODEL_LENGTH} characters")
    return Asked(
        model=model if isinstance(model, str) else None,
        stream=fields.stream is True,
        stream_options=fields.stream_options,
        prompt=fields,
    )


def names_another(body: bytes | mmap.mmap) -> bool:
    """Whether a key of an object is `model` to servers that do not mind its case (those in Go), and not here.

    False for a form.
    """
    try:
        keys = _decode_keys(body)
    except UNREADABLE:
        return False
    return any(key != MODEL and key.lower() == MODEL for key in keys)


def _read_form(body: bytes | mmap.mmap, content_type: bytes) -> Asked:
    fields = multipart.fields(body, content_type)
    model, stream = fields.get(b"model"), fields.get(b"stream")
    named = model is not None and 0 < len(model.value) <= MAX_MODEL_LENGTH
    return Asked(
        model=model.value.decode("utf-8", "replace") if model is not None and named else None,
        stream=stream is not None and stream.value.lower() == b"true",
    )


def _problem(body: bytes | mmap.mmap, error: Exception) -> str:
    """Without the parser's quotations of the body: what a client wrote does not travel into logs."""
    if not body:
        return "is empty"
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    if isinstance(error, msgspec.ValidationError):
        return "is not a JSON object"
    return "is not valid JSON"
