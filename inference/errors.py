"""What can go wrong in the engine. One tree; inference/http/consumers.py turns it into HTTP, serve_model into
an exit code.

InferenceError
├── ModelError             a model cannot be loaded; the message says what, where and what to try
│   ├── ModelNotFound
│   │   └── DownloadInterrupted   it may well be had later
│   └── ModelBroken
├── NoChatModel            the server has an embedding model only
├── InputTooLong           an input has more tokens than the model can read
├── InputInvalid           an input is empty, or holds token ids that the model does not have
├── TooManyAnswers         a request asks for more answers than can run and wait together
└── EngineError            the engine cannot take or finish a request
    ├── EngineNotReady     it is loading, has failed, or is stuck
    ├── EngineStopping     the server is shutting down
    ├── EngineOverloaded   too many answers would wait
    └── GenerationFailed   the model failed on this request; the others in its batch go on
        ├── GrammarFailed     its grammar turned out not to be one that can be followed to its end
        └── NothingLeft       what it bans leaves no token that may come
"""

from __future__ import annotations

FAILED = "The model failed while it was working on this request. Try again."
OUT_OF_MEMORY = (
    "The model server ran out of memory while it was working on this request. Try again, or with a shorter "
    "prompt. Its operator can lower --kv-cache-bytes or --max-batch-size."
)


class InferenceError(Exception):
    """Its message is a sentence for the person who reads it."""


class ModelError(InferenceError):
    """A model cannot be loaded."""


class ModelNotFound(ModelError):
    """There is no such model, or it cannot be fetched."""


class DownloadInterrupted(ModelNotFound):
    """A download that failed for a reason that passes. What has come is kept; it goes on from there.

    `retry_after_seconds` is what the other side asked for, None when it said nothing.
    """

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class ModelBroken(ModelError):
    """The model's files are incomplete, damaged, or of a kind that the engine cannot run."""


class NoChatModel(InferenceError):
    """The server has an embedding model only."""


class InputTooLong(InferenceError):
    """An input has more tokens than the model can read."""


class InputInvalid(InferenceError):
    """An input is empty, or holds token ids that the model does not have."""


class TooManyAnswers(InferenceError):
    """A request asks for more answers than can ever be taken: to try again is of no use."""


class EngineError(InferenceError):
    """The engine cannot take or finish a request."""


class EngineNotReady(EngineError):
    """The engine is loading, has failed, or is stuck."""


class EngineStopping(EngineError):
    """The server is shutting down."""


class EngineOverloaded(EngineError):
    """With this request, more answers would wait than may."""


class GenerationFailed(EngineError):
    """The model failed on this request. The others in its batch go on."""


class GrammarFailed(GenerationFailed):
    """The request's grammar turned out, in the middle of an answer, not to be one that can be followed."""


class NothingLeft(GenerationFailed):
    """What the request bans left, in the middle of an answer, no token that may come.

    `param` is the field that bans them.
    """

    def __init__(self, message: str, *, param: str) -> None:
        super().__init__(message)
        self.param = param
