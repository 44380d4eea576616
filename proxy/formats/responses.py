"""OpenAI's `/v1/responses` at the door: passed through, or translated to chat, without a memory."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from endpoints.profiles import profile
from ollaproject.wire.responses.answer import REPEATED, response_of
from ollaproject.wire.responses.request import to_chat
from ollaproject.wire.responses.stream import ResponseStream
from proxy.answer.dialects import OpenAI
from proxy.formats.translation import Translation
from proxy.request.bodies import whole

if TYPE_CHECKING:
    from endpoints.routing.snapshot import Target
    from ollaproject.wire.chat import Completion
    from ollaproject.wire.responses.request import Asked
    from proxy.answer.dialects import Dialect
    from proxy.formats.translation import Told


class Failing(OpenAI):
    """A stream that cannot go on says so in its own numbered events."""

    def __init__(self, stream: ResponseStream) -> None:
        self._stream = stream

    def broken_off(self, message: str, code: str | None, request_id: str) -> bytes:  # noqa: ARG002
        return self._stream.fail(message, code)


class Responses(Translation):
    """One response."""

    name = "openai-responses"

    @cached_property
    def asked(self) -> Asked:
        return to_chat(whole(self.body))

    def is_spoken_by(self, target: Target) -> bool:
        return profile(target.type).speaks_responses

    def chat(self) -> Any:
        return self.asked.chat

    def forget_chat(self) -> None:
        asked = self.asked
        self.asked = replace(asked, chat={}, given={name: asked.given.get(name) for name in REPEATED})

    def whole(self, completion: Completion) -> Any:
        return response_of(completion, self.asked)

    def stream(self) -> Told:
        return ResponseStream(self.asked)

    def dialect(self, stream: Told) -> Dialect | None:
        return Failing(stream) if isinstance(stream, ResponseStream) else None
