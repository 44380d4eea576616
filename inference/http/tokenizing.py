"""/tokenize and /detokenize, as vLLM has them: what a prompt or a conversation is in tokens, and back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from inference.http import prompts
from inference.http.boundary import OK, Consumer
from inference.http.fields import Fields, invalid_type, invalid_value, read_object, token_ids, unsupported
from inference.http.refused import REFUSED_ON_TOKENIZE, refuse
from inference.http.schema import ending_of, template_arguments
from inference.http.tools import Tools, read_tools

if TYPE_CHECKING:
    from inference.backend import Backend
    from inference.http.chat_template import Ending


@dataclass(frozen=True, slots=True)
class TokenizeRequest:
    """Either `prompt` or `messages` is given. `model` None: the one that is served."""

    model: str | None
    prompt: str | None
    messages: list[dict[str, Any]] | None
    add_special_tokens: bool
    ending: Ending
    with_strings: bool
    tools: Tools
    template_arguments: dict[str, Any]


def read_tokenize(body: dict[str, Any]) -> TokenizeRequest:
    """A /tokenize body; ApiError when it is not a good one."""
    fields = Fields(body)
    refuse(fields, REFUSED_ON_TOKENIZE)
    prompt, messages = fields.get("prompt"), fields.get("messages")
    if (prompt is None) == (messages is None):
        raise invalid_value("prompt", "Give either 'prompt' or 'messages', and not both.")
    if messages is not None and not isinstance(messages, list):
        raise invalid_type("messages", "an array of objects", messages)
    if messages is not None and fields.boolean("add_special_tokens"):
        message = "'add_special_tokens' is for a 'prompt': the template of 'messages' writes its own."
        raise unsupported("add_special_tokens", message)
    return TokenizeRequest(
        model=_model(fields),
        prompt=None if prompt is None else fields.string("prompt"),
        messages=messages,
        add_special_tokens=fields.boolean("add_special_tokens", default=True),
        ending=ending_of(fields),
        with_strings=fields.boolean("return_token_strs"),
        tools=read_tools(fields),
        template_arguments=template_arguments(fields),
    )


class Tokenize(Consumer):
    route = "tokenize"
    methods = ("POST",)

    async def respond(self, body: bytes) -> None:
        backend = self.serving.engine.backend
        request = await self.serving.understand(body, lambda body: read_tokenize(read_object(body)))
        tokens = await self.serving.tokenize(_tokens, backend, request)
        strings = backend.chat.tokenizer.convert_ids_to_tokens(tokens) if request.with_strings else None
        payload = {
            "count": len(tokens),
            "max_model_len": backend.chat.context_length,
            "tokens": tokens,
            "token_strs": strings,
        }
        await self.send_object(OK, payload)


class Detokenize(Consumer):
    route = "detokenize"
    methods = ("POST",)

    async def respond(self, body: bytes) -> None:
        backend = self.serving.engine.backend
        model, tokens = await self.serving.understand(body, _read_detokenize)
        text = await self.serving.tokenize(_text, backend, model, tokens)
        await self.send_object(OK, {"prompt": text})


def _read_detokenize(body: bytes) -> tuple[str | None, list[int]]:
    fields = Fields(read_object(body))
    return _model(fields), token_ids("tokens", fields.require("tokens"))


def _model(fields: Fields) -> str | None:
    return None if fields.get("model") is None else fields.string("model")


def _tokens(backend: Backend, request: TokenizeRequest) -> list[int]:
    prompts.check_model(backend, request.model)
    if request.prompt is not None:
        text = request.prompt
        prompts.check_length(backend, len(text), lambda: text, wanted=0, param="prompt")
        tokenizer = backend.chat.tokenizer
        return list(tokenizer.encode(text, add_special_tokens=request.add_special_tokens))
    tokens, _ = prompts.conversation_tokens(
        backend,
        request.messages or [],
        request.template_arguments,
        request.tools,
        request.ending,
        check=partial(prompts.check_length, backend, wanted=0, param="messages"),
    )
    return tokens


def count_tokens(backend: Backend, request: TokenizeRequest) -> int:
    """On the tokenizing thread. ApiError as /tokenize has it."""
    return len(_tokens(backend, request))


def _text(backend: Backend, model: str | None, tokens: list[int]) -> str:
    """The exact text, special tokens by name: what was tokenised comes back."""
    prompts.check_model(backend, model)
    prompts.check_ids(backend, "tokens", tokens)
    return backend.vocabulary.decode(tokens, skip_special=False)
