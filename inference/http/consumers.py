"""The model server's routes, one consumer each: read the request, hand it to the engine, write the answer."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from inference.embeddings.matryoshka import cut
from inference.http import prompts, schema, shapes
from inference.http.answers import Answer
from inference.http.boundary import NOT_FOUND, OK, RETRY_AFTER_SECONDS, UNAVAILABLE, Consumer
from inference.http.completion_shape import CompletionShape
from inference.http.embedding_shape import embeddings
from inference.http.fields import read_object
from inference.http.functions import FunctionShape
from inference.http.renamed import OF_FUNCTIONS, named_as
from inference.work import EmbeddingJob, Vectors
from ollaproject.wire.openai_errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inference.embeddings.encoder import Encoder
    from inference.http.prompts import Prompts
    from inference.http.schema import Generating
    from inference.http.shapes import Shape

INPUTS_AT_A_TIME = 16


class Health(Consumer):
    """200 only while the engine can generate, as of this moment."""

    route = "health"
    needs_key = False

    async def respond(self, body: bytes) -> None:  # noqa: ARG002
        health = self.serving.engine.health()
        payload: dict[str, Any] = {
            "status": health.status,
            "model_loaded": self.serving.engine.is_loaded,
            "model_name": self.serving.engine.model_name,
            "idle_seconds": round(self.serving.meter.idle_seconds, 1),
        }
        if health.status == "healthy":
            await self.send_object(OK, payload)
        else:
            headers = {"Retry-After": RETRY_AFTER_SECONDS}
            await self.send_object(UNAVAILABLE, {**payload, "reason": health.reason}, headers)


class Models(Consumer):
    """The models that are served: the chat model, and the embedding model if there is one."""

    route = "models"

    async def respond(self, body: bytes) -> None:  # noqa: ARG002
        entries = self._entries()
        name = self.scope["url_route"]["kwargs"].get("name")
        if name is None:
            await self.send_object(OK, {"object": "list", "data": entries})
            return
        entry = next((entry for entry in entries if entry["id"] == name), None)
        if entry is None:
            served = ", ".join(f"'{entry['id']}'" for entry in entries)
            message = f"The model '{name}' is not served here. There is: {served}."
            raise ApiError(NOT_FOUND, "model_not_found", message, param="model")
        await self.send_object(OK, entry)

    def _entries(self) -> list[dict[str, Any]]:
        return [
            shapes.model_entry(name, created=created, max_model_len=tokens)
            for name, created, tokens in self.serving.engine.backend.served
        ]


class Generation(Consumer):
    """What chat and plain completions share: an answer in the making, streamed or whole."""

    methods = ("POST",)
    uses_model = True

    async def answer(self, generating: Generating, ready: Prompts, shape: Shape) -> None:
        engine, meter = self.serving.engine, self.serving.meter
        with (
            Answer(engine, meter, generating=generating, ready=ready) as answer,
            self.serving.cancellable(self, (shape.id,)),
        ):
            try:
                await (self._stream(answer, shape) if generating.stream else self._whole(answer, shape))
            finally:
                self.report = _numbers(answer)

    async def _whole(self, answer: Answer, shape: Shape) -> None:
        grown: dict[int, list[Any]] = {choice.index: [] for choice in answer.choices}
        async for pieces in answer.pieces():
            for piece in pieces:
                grown[piece.choice.index].append(piece)
        choices = [shape.choice(index, pieces) for index, pieces in grown.items()]
        await self.send_object(OK, shape.whole(choices, answer))

    async def _stream(self, answer: Answer, shape: Shape) -> None:
        # Nothing is sent before there is something to say: until then a failure still has its own status.
        async for pieces in answer.pieces():
            chunks = [chunk for piece in pieces for chunk in shape.growth(piece)]
            if not self.streaming:
                await self.start_stream()
                chunks = shape.opening(answer.choices) + chunks
            await self.send_chunks(shape.encode(chunks, answer))
        await self.send_chunks(shape.ending(answer), last=True)


class ChatCompletions(Generation):
    route = "chat_completions"

    async def respond(self, body: bytes) -> None:
        backend = self.serving.engine.backend
        usual = backend.chat.usual
        request = await self.serving.understand(body, lambda body: schema.read_chat(read_object(body), usual))
        with named_as(OF_FUNCTIONS if request.calls_functions else {}):
            ready = await self.serving.tokenize(prompts.chat_prompt, backend, request)
        shape = FunctionShape if request.calls_functions else shapes.ChatShape
        await self.answer(request.generating, ready, shape(request.generating, backend.vocabulary))


class Completions(Generation):
    route = "completions"

    async def respond(self, body: bytes) -> None:
        backend = self.serving.engine.backend
        usual = backend.chat.usual
        request = await self.serving.understand(
            body, lambda body: schema.read_completion(read_object(body), usual)
        )
        ready = await self.serving.tokenize(prompts.completion_prompts, backend, request)
        echoes = [echo for echo in ready.echoes for _ in range(request.generating.n)]
        shape = CompletionShape(request.generating, backend.vocabulary, echoes)
        await self.answer(request.generating, ready, shape)


class Embeddings(Consumer):
    route = "embeddings"
    methods = ("POST",)
    uses_model = True

    async def respond(self, body: bytes) -> None:
        engine = self.serving.engine
        request = await self.serving.understand(body, lambda body: schema.read_embedding(read_object(body)))
        inputs = await self._tokens(prompts.encoder_for(engine.backend, request), request.inputs)
        done: asyncio.Future[Vectors] = asyncio.get_running_loop().create_future()
        job = EmbeddingJob(inputs=inputs, deliver=done.set_result)
        engine.submit([job])
        try:
            result = await done
        finally:
            engine.cancel([job])
        if result.error is not None:
            raise result.error
        tokens = sum(map(len, inputs))
        self.report = f" embedded={len(inputs)} prompt={tokens}"
        vectors = cut(result.vectors, request.dimensions)
        await self.send_object(OK, embeddings(request, vectors, prompt_tokens=tokens))

    async def _tokens(self, encoder: Encoder, inputs: Sequence[str | list[int]]) -> list[list[int]]:
        """A few at a time: two thousand long ones take the tokenizing thread seconds, and others wait."""
        tokens: list[list[int]] = []
        for first in range(0, len(inputs), INPUTS_AT_A_TIME):
            some = inputs[first : first + INPUTS_AT_A_TIME]
            tokens += await self.serving.tokenize(partial(encoder.tokenize, some, first=first))
        return tokens


class UnknownRoute(Consumer):
    """404 in OpenAI's shape for whatever no other route answers."""

    methods = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

    async def respond(self, body: bytes) -> None:  # noqa: ARG002
        message = (
            f"There is nothing at {self.scope['path']}. This server answers /health, /v1/models, "
            "/v1/chat/completions, /v1/completions, /v1/responses, /v1/messages, /v1/embeddings, /tokenize, "
            "/detokenize, /v1/status, /metrics and /version."
        )
        raise ApiError(NOT_FOUND, "not_found", message)


def _numbers(answer: Answer) -> str:
    """What the log says of a generation."""
    now = time.monotonic()
    first = answer.first_token_at
    text = (
        f" prompt={answer.prompt_tokens} cached={answer.cached_tokens} completion={answer.completion_tokens}"
    )
    if first is None:
        return text
    rate = answer.completion_tokens / max(now - first, 1e-3)
    return f"{text} ttft={first - answer.began:.3f}s rate={rate:.1f}tok/s"
