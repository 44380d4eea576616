"""Anthropic's Messages, spoken by the model server itself: whole, streamed, and counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference.http import prompts, schema
from inference.http.boundary import INTERNAL_ERROR, OK, Consumer
from inference.http.consumers import Generation
from inference.http.renamed import OF_MESSAGES, named_as
from inference.http.shapes import ChatShape
from inference.http.tokenizing import count_tokens, read_tokenize
from ollaproject.wire import sse
from ollaproject.wire.anthropic import counting, errors
from ollaproject.wire.anthropic.answer import message_of, new_id
from ollaproject.wire.anthropic.request import to_chat
from ollaproject.wire.anthropic.stream import MessageStream
from ollaproject.wire.chat import Details, TranslationError, Usage, chunk_of
from ollaproject.wire.openai_errors import ApiError

if TYPE_CHECKING:
    from inference.http.answers import Answer
    from inference.http.detokenize import Vocabulary
    from inference.http.schema import ChatRequest, Generating
    from inference.http.tokenizing import TokenizeRequest
    from inference.work import Sampling
    from ollaproject.wire.anthropic.request import Asked


class MessageShape(ChatShape):
    """A message, made of what a chat answer would be."""

    def __init__(self, generating: Generating, vocabulary: Vocabulary, asked: Asked) -> None:
        super().__init__(generating, vocabulary)
        self._asked = asked
        self._name = new_id()
        self._told: MessageStream | None = None

    @property
    def id(self) -> str:
        return self._name

    def whole(self, choices: list[dict[str, Any]], answer: Answer) -> dict[str, Any]:
        completion = chunk_of(super().whole(choices, answer))
        try:
            return message_of(completion, model=self._asked.model, hides_thoughts=self._asked.hides_thoughts)
        except TranslationError as error:
            raise ApiError(INTERNAL_ERROR, "generation_failed", f"The model {error}.") from error

    def encode(self, chunks: list[dict[str, Any]], answer: Answer) -> bytes:
        if self._told is None:
            known = Details(cached_tokens=answer.cached_tokens)
            usage = Usage(prompt_tokens=answer.prompt_tokens, prompt_tokens_details=known)
            self._told = MessageStream(
                model=self._asked.model,
                usage=usage,
                hides_thoughts=self._asked.hides_thoughts,
                name=self._name,
            )
        return b"".join([self._told.feed(chunk_of(chunk)) for chunk in chunks])

    def ending(self, answer: Answer) -> bytes:
        last = self.encode([self.usage_chunk(answer)], answer)
        return last + (self._told.finish() if self._told is not None else b"")


class AnthropicConsumer(Consumer):
    """Errors and ids as Anthropic words them."""

    methods = ("POST",)

    def error_body(self, error: ApiError) -> Any:
        return errors.of_api_error(error, self.request_id)

    def error_event(self, error: ApiError) -> bytes:
        return sse.typed_event({**errors.of_api_error(error, self.request_id)})

    def id_headers(self) -> list[tuple[bytes, bytes]]:
        return [*super().id_headers(), (b"request-id", self.request_id.encode())]


class Messages(AnthropicConsumer, Generation):
    route = "messages"

    async def respond(self, body: bytes) -> None:
        backend = self.serving.engine.backend
        usual = backend.chat.usual
        asked, request = await self.serving.understand(body, lambda body: _read(body, usual))
        with named_as(OF_MESSAGES):
            ready = await self.serving.tokenize(prompts.chat_prompt, backend, request)
        shape = MessageShape(request.generating, backend.vocabulary, asked)
        await self.answer(request.generating, ready, shape)


class CountTokens(AnthropicConsumer):
    """Exactly as many as the message's prompt would have."""

    route = "count_tokens"

    async def respond(self, body: bytes) -> None:
        request = await self.serving.understand(body, _read_to_count)
        tokens = await self.serving.tokenize(count_tokens, self.serving.engine.backend, request)
        await self.send_object(OK, {"input_tokens": tokens})


def _read(body: bytes, usual: Sampling) -> tuple[Asked, ChatRequest]:
    asked = to_chat(body, can_continue=True)
    with named_as(OF_MESSAGES):
        return asked, schema.read_chat(asked.chat, usual)


def _read_to_count(body: bytes) -> TokenizeRequest:
    asked = to_chat(body, can_continue=True, counts_only=True)
    return read_tokenize(counting.tokenize_request(asked))
