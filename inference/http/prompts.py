"""Requests to token ids, checked against the model: is it the one served, do the ids exist, does it all fit.

These functions take milliseconds on long texts, so they run on the tokenizing thread, not on the loop.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from inference.http import far_too_long
from inference.http.chat_template import prompt_tokens
from inference.http.fields import BAD_REQUEST, invalid_value
from inference.http.manner import call_opening, fence_of, manner_of
from inference.http.tools import answer_or_calls, call_grammar, strict_grammar
from inference.http.vllm_fields import refuse_to_cut, sampling_of, thought_limit_of
from inference.work import Sampling
from ollaproject.wire.openai_errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from llguidance import LLMatcher

    from inference.backend import Backend
    from inference.embeddings.encoder import Encoder
    from inference.http.chat_template import Check, Ending
    from inference.http.schema import ChatRequest, CompletionRequest, EmbeddingRequest, Generating
    from inference.http.speech import Manner
    from inference.http.structure import Structure
    from inference.http.tools import Tools
    from inference.http.vllm_fields import Truncation
    from inference.work import ThoughtLimit

NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class Prompts:
    """Of each prompt: its token ids, how many tokens an answer may have, and its text, None unless it is
    echoed.

    `sampling` is the request's, in the model's tokens. `matcher` is the grammar that all answers must follow,
    once they have said `guided_after`, or whenever they have, if `guided_again`. `manner` is how the model
    speaks, when not everything it says is content.
    """

    tokens: list[list[int]]
    room: list[int]
    echoes: list[str | None]
    matcher: LLMatcher | None = None
    guided_after: tuple[int, ...] = ()
    guided_again: bool = False
    manner: Manner | None = None
    sampling: Sampling = field(default_factory=Sampling)
    thought_limit: ThoughtLimit | None = None


def chat_prompt(backend: Backend, request: ChatRequest) -> Prompts:
    sampling = _checked_sampling(backend, request.generating)
    check = partial(check_length, backend, wanted=request.generating.max_tokens, param="messages")
    tokens, manner = conversation_tokens(
        backend, request.messages, request.template_arguments, request.tools, request.ending, check=check
    )
    refuse_to_cut(tokens, request.truncation)
    is_thinking = manner is not None and manner.is_thinking
    matcher, calls_only = _chat_matcher(backend, request)
    after: tuple[int, ...] = ()
    if calls_only:
        after = fence_of(backend.chat.tokenizer).start_tokens
    elif is_thinking:
        after = tuple(backend.chat.tokenizer.think_end_tokens)
    return Prompts(
        [tokens],
        [_room(backend, tokens, request.generating.max_tokens, param="messages")],
        [None],
        matcher=matcher,
        guided_after=after,
        guided_again=calls_only,
        manner=manner,
        sampling=sampling,
        thought_limit=thought_limit_of(backend, request.generating),
    )


def conversation_tokens(
    backend: Backend,
    messages: list[dict[str, Any]],
    template_arguments: dict[str, Any],
    tools: Tools,
    ending: Ending,
    *,
    check: Check | None = None,
) -> tuple[list[int], Manner | None]:
    """What a conversation is for the model, to the token, and how the model will answer. `check` as
    `prompt_tokens` has it.
    """
    tokenizer = backend.chat.tokenizer
    arguments = {**backend.chat.template_options, **template_arguments}
    tokens = prompt_tokens(tokenizer, messages, arguments, tools=tools.offered, ending=ending, check=check)
    manner = manner_of(tokenizer, tools, tokens)
    if tools.forced and not (manner is not None and manner.is_thinking):
        tokens += call_opening(tokenizer)
    return tokens, manner


def completion_prompts(backend: Backend, request: CompletionRequest) -> Prompts:
    sampling, wanted = _checked_sampling(backend, request.generating), request.generating.max_tokens
    lists = [
        _tokens_of(backend, prompt, wanted, special=request.add_special_tokens, truncation=request.truncation)
        for prompt in request.prompts
    ]
    room = [_room(backend, tokens, wanted, param="prompt") for tokens in lists]
    shown = request.prompts if request.truncation is None else lists
    return Prompts(
        lists,
        room,
        [_text_of(backend, prompt) if request.echo else None for prompt in shown],
        matcher=_matcher(backend, request.generating.structure),
        sampling=sampling,
        thought_limit=thought_limit_of(backend, request.generating),
    )


def encoder_for(backend: Backend, request: EmbeddingRequest) -> Encoder:
    """The embedding model, if it is the one that is asked for, and can do what is asked of it."""
    encoder = backend.encoder
    if encoder is None:
        message = f"This server makes no embeddings: it serves the chat model '{backend.chat.name}' only."
        raise ApiError(NOT_FOUND, "model_not_found", message, param="model")
    if request.model != encoder.name:
        message = f"The model '{request.model}' makes no embeddings here. Use '{encoder.name}'."
        raise ApiError(NOT_FOUND, "model_not_found", message, param="model")
    if not encoder.lengths.allow(request.dimensions):
        raise invalid_value(
            "dimensions", f"'{encoder.name}' makes vectors of {encoder.lengths} dimensions only."
        )
    if not all(request.inputs):
        raise invalid_value("input", "'input' must not hold an empty text.")
    return encoder


def check_model(backend: Backend, name: str | None) -> None:
    """ApiError unless `name` is the chat model, or None."""
    served, encoder = backend.chat.name, backend.encoder
    if name in (None, served):
        return
    message = f"The model '{name}' is not served here. This server generates with '{served}'."
    if encoder is not None and name == encoder.name:
        message = f"The model '{encoder.name}' makes embeddings only. To generate, use '{served}'."
    raise ApiError(NOT_FOUND, "model_not_found", message, param="model")


def _checked_sampling(backend: Backend, generating: Generating) -> Sampling:
    check_model(backend, generating.model)
    check_ids(backend, "logit_bias", [token for token, _ in generating.sampling.logit_bias])
    check_ids(backend, "stop_token_ids", generating.stop_tokens)
    check_ids(backend, "allowed_token_ids", generating.sampling.allowed_token_ids or ())
    return sampling_of(backend, generating)


def _chat_matcher(backend: Backend, request: ChatRequest) -> tuple[LLMatcher | None, bool]:
    """What the answer must follow, and whether that is about the calls in it only, wherever they are."""
    asked, tools = request.generating.structure, request.tools
    # That is about the text of an answer. vLLM's are about all of it.
    is_format = asked is not None and asked.param.startswith("response_format")
    if tools.forced:
        if asked is not None and not is_format:
            raise invalid_value("tool_choice", f"Give either 'tool_choice' with a call or '{asked.param}'.")
        return _matcher(backend, call_grammar(tools)), False
    if not tools.offered or not (asked is None or is_format):
        return _matcher(backend, asked), False
    fence = fence_of(backend.chat.tokenizer)
    if asked is None:
        calls = strict_grammar(tools, end=fence.end_tokens[0]) if fence.is_strict else None
        return _matcher(backend, calls), calls is not None
    _matcher(backend, asked)  # what is wrong with it is told of by its own name
    return _matcher(backend, answer_or_calls(asked, tools, fence)), False


def _matcher(backend: Backend, structure: Structure | None) -> LLMatcher | None:
    return None if structure is None else backend.grammars.matcher(structure)


def check_ids(backend: Backend, param: str, tokens: list[int] | tuple[int, ...]) -> None:
    """ApiError when `tokens` names one that the model does not have."""
    size = backend.chat.vocabulary_size
    if tokens and max(tokens) >= size:
        raise invalid_value(
            param, f"'{param}' names the token {max(tokens)}, but this model has {size} tokens."
        )


def _tokens_of(
    backend: Backend,
    prompt: str | list[int],
    wanted: int | None,
    *,
    special: bool,
    truncation: Truncation | None,
) -> list[int]:
    most = backend.chat.context_length - (wanted or 0)
    if isinstance(prompt, list):
        check_ids(backend, "prompt", prompt)
        return prompt if truncation is None else truncation.cut(prompt, most=most)
    encode = partial(backend.chat.tokenizer.encode, add_special_tokens=special)
    if truncation is None:
        check_length(backend, len(prompt), lambda: prompt, wanted=wanted, param="prompt")
    tokens: list[int] = encode(prompt) if truncation is None else truncation.read(prompt, encode, most=most)
    if not tokens:
        raise invalid_value("prompt", "'prompt' must not be empty.")
    return tokens


def _text_of(backend: Backend, prompt: str | list[int]) -> str:
    return prompt if isinstance(prompt, str) else backend.vocabulary.decode(prompt)


def check_length(
    backend: Backend, characters: int, text: Callable[[], str], *, wanted: int | None, param: str
) -> None:
    """ApiError when a text is far too long, before all of it is tokenised."""
    chat = backend.chat
    if not far_too_long.may_be(characters, chat.context_length):
        return
    tokens = far_too_long.counted(
        text(), chat.context_length, lambda piece: len(chat.tokenizer.encode(piece, add_special_tokens=False))
    )
    if tokens is not None:
        raise _too_long(backend, tokens, wanted, param=param, at_least="at least ")


def _room(backend: Backend, tokens: list[int], wanted: int | None, *, param: str) -> int:
    """How many tokens the answer may have: `wanted`, or all that is left of the model's context."""
    left = backend.chat.context_length - len(tokens)
    if left < (1 if wanted is None else wanted):
        raise _too_long(backend, len(tokens), wanted, param=param)
    return left if wanted is None else wanted


def _too_long(
    backend: Backend, tokens: int, wanted: int | None, *, param: str, at_least: str = ""
) -> ApiError:
    asked = f" and {wanted} for the answer" if wanted else ""
    message = (
        f"This model reads at most {backend.chat.context_length} tokens, prompt and answer together. You "
        f"asked for {at_least}{tokens + (1 if wanted is None else wanted)}: {at_least}{tokens} in the "
        f"{param}{asked}. Shorten one of them.{backend.chat.context_limit}"
    )
    return ApiError(BAD_REQUEST, "context_length_exceeded", message, param=param)
