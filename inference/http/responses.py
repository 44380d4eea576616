"""OpenAI's Responses, spoken by the model server itself, without a memory of earlier ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference.http import prompts, schema
from inference.http.consumers import Generation
from inference.http.renamed import ITEMS, OF_RESPONSES, named_as
from inference.http.shapes import ChatShape
from ollaproject.wire import sse
from ollaproject.wire.chat import chunk_of
from ollaproject.wire.responses.answer import response_of
from ollaproject.wire.responses.request import to_chat
from ollaproject.wire.responses.stream import ResponseStream

if TYPE_CHECKING:
    from inference.http.answers import Answer
    from inference.http.detokenize import Vocabulary
    from inference.http.schema import ChatRequest, Generating
    from inference.work import Sampling
    from ollaproject.wire.openai_errors import ApiError
    from ollaproject.wire.responses.request import Asked


class ResponseShape(ChatShape):
    """A response, made of what a chat answer would be."""

    def __init__(self, generating: Generating, vocabulary: Vocabulary, asked: Asked) -> None:
        super().__init__(generating, vocabulary)
        self._asked = asked
        self.told = ResponseStream(asked)

    @property
    def id(self) -> str:
        return self.told.id

    def whole(self, choices: list[dict[str, Any]], answer: Answer) -> dict[str, Any]:
        return response_of(chunk_of(super().whole(choices, answer)), self._asked)

    def encode(self, chunks: list[dict[str, Any]], answer: Answer) -> bytes:  # noqa: ARG002
        return b"".join([self.told.feed(chunk_of(chunk)) for chunk in chunks])

    def ending(self, answer: Answer) -> bytes:
        return self.encode([self.usage_chunk(answer)], answer) + self.told.finish()


class Responses(Generation):
    route = "responses"
    _shape: ResponseShape | None = None

    def error_event(self, error: ApiError) -> bytes:
        if self._shape is None:
            return sse.event(error.body())
        return self._shape.told.fail(error.message, error.code)

    async def respond(self, body: bytes) -> None:
        backend = self.serving.engine.backend
        usual = backend.chat.usual
        asked, request = await self.serving.understand(body, lambda body: _read(body, usual))
        with named_as(OF_RESPONSES, messages=ITEMS):
            ready = await self.serving.tokenize(prompts.chat_prompt, backend, request)
        self._shape = ResponseShape(request.generating, backend.vocabulary, asked)
        await self.answer(request.generating, ready, self._shape)


def _read(body: bytes, usual: Sampling) -> tuple[Asked, ChatRequest]:
    asked = to_chat(body)
    with named_as(OF_RESPONSES, messages=ITEMS):
        return asked, schema.read_chat(asked.chat, usual)
