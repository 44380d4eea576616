"""Requests as the engine understands them, read from OpenAI's JSON.

What is not supported is refused with a sentence, never silently ignored. Fields that only describe the
caller (`user`, `metadata`, `store: false`) and unknown ones are let through.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from inference.http.fields import Fields, check_strings, invalid_type, invalid_value, token_ids, unsupported
from inference.http.functions import read_functions
from inference.http.refused import REFUSED, REFUSED_ON_COMPLETIONS, REFUSED_ON_EMBEDDINGS, refuse
from inference.http.sampling_fields import OPENAI, read_sampling
from inference.http.structure import Structure, check_ending, read_structure
from inference.http.tools import Tools, read_tools
from inference.http.vllm_fields import OfVllm, Truncation, read_of_vllm, read_truncation

if TYPE_CHECKING:
    from inference.http.chat_template import Ending
    from inference.work import Sampling

MAX_CHOICES = 16
MAX_STOPS = 16
MAX_STOP_CHARACTERS = 1000
MAX_TOP_LOGPROBS = 20
MAX_COMPLETION_LOGPROBS = 5
MAX_PROMPTS = 64
MAX_EMBEDDING_INPUTS = 2048
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
PROMPT_FORMS = "a string, an array of strings, or token ids"
DEFAULT_COMPLETION_TOKENS = 16
"""What OpenAI's /v1/completions generates when `max_tokens` is not given."""


@dataclass(frozen=True, slots=True)
class Generating:
    """What chat and plain completions have in common. `top_logprobs` is None when no logprobs are asked
    for.
    """

    model: str
    sampling: Sampling
    max_tokens: int | None
    min_tokens: int
    stops: tuple[str, ...]
    stop_tokens: tuple[int, ...]
    ignore_eos: bool
    n: int
    stream: bool
    include_usage: bool
    continuous_usage: bool
    top_logprobs: int | None
    structure: Structure | None
    of_vllm: OfVllm


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """`ending` is what follows the last message: the beginning of an answer, nothing, or the rest of it.
    `calls_functions`: its `tools` were `functions`, and so are its answer's calls.
    """

    generating: Generating
    messages: list[dict[str, Any]]
    tools: Tools = field(default_factory=Tools)
    calls_functions: bool = False
    template_arguments: dict[str, Any] = field(default_factory=dict)
    ending: Ending = "generation_prompt"
    truncation: Truncation | None = None


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    generating: Generating
    prompts: list[str | list[int]]
    echo: bool
    add_special_tokens: bool
    truncation: Truncation | None = None


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    model: str
    inputs: list[str] | list[list[int]]
    base64: bool
    dimensions: int | None


def read_chat(body: dict[str, Any], usual: Sampling = OPENAI) -> ChatRequest:
    """A /v1/chat/completions body; ApiError when it is not a good one. `usual` is for what it leaves open."""
    fields = Fields(body)
    refuse(fields, REFUSED)
    messages = fields.require("messages")
    if not isinstance(messages, list):
        raise invalid_type("messages", "an array of objects", messages)
    top = fields.integer("top_logprobs", low=0, high=MAX_TOP_LOGPROBS)
    wanted = fields.boolean("logprobs")
    if top is not None and not wanted:
        raise invalid_value("top_logprobs", "'top_logprobs' needs 'logprobs' to be true.")
    # Both are looked at, though only one counts.
    most = [fields.integer(name, low=1) for name in ("max_completion_tokens", "max_tokens")]
    functions = read_functions(fields)
    tools = read_tools(fields) if functions is None else functions
    if tools.forced:
        check_ending(fields, "tool_choice" if functions is None else "function_call")
    return ChatRequest(
        generating=_generating(
            fields,
            usual,
            max_tokens=most[0] or most[1],
            top_logprobs=(top or 0) if wanted else None,
        ),
        messages=messages,
        tools=tools,
        calls_functions=functions is not None,
        template_arguments=template_arguments(fields),
        ending=ending_of(fields),
        truncation=read_truncation(fields),
    )


def template_arguments(fields: Fields) -> dict[str, Any]:
    """What the template is told beside the messages. How hard to think is up to it, and so is whether.

    `chat_template_kwargs` goes before `enable_thinking`, as vllm-mlx has it, and that before the effort.
    """
    given = fields.object("chat_template_kwargs")
    arguments = given.as_dict() if given else {}
    if fields.get("enable_thinking") is not None:
        arguments = {"enable_thinking": fields.boolean("enable_thinking"), **arguments}
    if fields.get("reasoning_effort") is None:
        return arguments
    effort = fields.string("reasoning_effort")
    if effort not in EFFORTS:
        known = ", ".join(f"'{known}'" for known in EFFORTS)
        raise invalid_value("reasoning_effort", f"'reasoning_effort' must be one of {known}, not '{effort}'.")
    return {"reasoning_effort": effort, "enable_thinking": effort != "none", **arguments}


def ending_of(fields: Fields) -> Ending:
    """What follows the last message. ApiError when it is to be two things."""
    continues = fields.boolean("continue_final_message")
    opens = fields.boolean("add_generation_prompt", default=not continues)
    if continues and opens:
        message = "'continue_final_message' needs 'add_generation_prompt' to be false."
        raise invalid_value("continue_final_message", message)
    return "continuation" if continues else "generation_prompt" if opens else "nothing"


def read_completion(body: dict[str, Any], usual: Sampling = OPENAI) -> CompletionRequest:
    """A /v1/completions body; ApiError when it is not a good one. `usual`: as above."""
    fields = Fields(body)
    refuse(fields, REFUSED_ON_COMPLETIONS)
    echo = fields.boolean("echo")
    given = [fields.integer(name, low=0 if echo else 1) for name in ("max_completion_tokens", "max_tokens")]
    generating = _generating(
        fields,
        usual,
        max_tokens=next((tokens for tokens in given if tokens is not None), DEFAULT_COMPLETION_TOKENS),
        top_logprobs=fields.integer("logprobs", low=0, high=MAX_COMPLETION_LOGPROBS),
    )
    if (fields.integer("best_of", low=1) or generating.n) != generating.n:
        raise unsupported(
            "best_of", "'best_of' other than 'n' is not supported: ask for 'n' choices and keep the best one."
        )
    prompts = _prompts("prompt", fields.require("prompt"), most=MAX_PROMPTS)
    special = fields.boolean("add_special_tokens", default=True)
    return CompletionRequest(
        generating, prompts, echo, add_special_tokens=special, truncation=read_truncation(fields)
    )


def read_embedding(body: dict[str, Any]) -> EmbeddingRequest:
    """A /v1/embeddings body; ApiError when it is not a good one."""
    fields = Fields(body)
    refuse(fields, REFUSED_ON_EMBEDDINGS)
    encoding = "float" if fields.get("encoding_format") is None else fields.string("encoding_format")
    if encoding not in ("float", "base64"):
        raise invalid_value("encoding_format", "'encoding_format' must be 'float' or 'base64'.")
    inputs: Any = _prompts("input", fields.require("input"), most=MAX_EMBEDDING_INPUTS)
    return EmbeddingRequest(
        model=fields.string("model"),
        inputs=inputs,
        base64=encoding == "base64",
        dimensions=fields.integer("dimensions", low=1),
    )


def _generating(
    fields: Fields, usual: Sampling, *, max_tokens: int | None, top_logprobs: int | None
) -> Generating:
    stream = fields.boolean("stream")
    options = fields.object("stream_options")
    if options is not None and not stream:
        raise invalid_value("stream_options", "'stream_options' is only allowed when 'stream' is true.")
    min_tokens = fields.integer("min_tokens", low=0) or 0
    if max_tokens is not None and min_tokens > max_tokens:
        message = f"'min_tokens' must not be more than the {max_tokens} tokens that the answer may have."
        raise invalid_value("min_tokens", message)
    return Generating(
        model=fields.string("model"),
        sampling=read_sampling(fields, usual),
        max_tokens=max_tokens,
        min_tokens=min_tokens,
        stops=_stops(fields.get("stop")),
        stop_tokens=_stop_tokens(fields.get("stop_token_ids")),
        ignore_eos=fields.boolean("ignore_eos"),
        n=fields.integer("n", low=1, high=MAX_CHOICES) or 1,
        stream=stream,
        include_usage=options is not None and options.boolean("include_usage"),
        continuous_usage=options is not None and options.boolean("continuous_usage_stats"),
        top_logprobs=top_logprobs,
        structure=read_structure(fields),
        of_vllm=read_of_vllm(fields, stream=stream),
    )


def _stops(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list):
        raise invalid_type("stop", "a string or an array of strings", value)
    check_strings("stop", stops)
    if len(stops) > MAX_STOPS:
        raise invalid_value("stop", f"'stop' may hold at most {MAX_STOPS} strings, not {len(stops)}.")
    if any(not 0 < len(stop) <= MAX_STOP_CHARACTERS for stop in stops):
        raise invalid_value("stop", f"Each string of 'stop' must have 1 to {MAX_STOP_CHARACTERS} characters.")
    return tuple(stops)


def _stop_tokens(value: Any) -> tuple[int, ...]:
    return () if value is None else tuple(token_ids("stop_token_ids", value))


def _prompts(name: str, value: Any, *, most: int) -> list[str | list[int]]:
    """One string, many, one list of token ids, or many: as a list of strings or of lists of ids."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise invalid_type(name, PROMPT_FORMS, value)
    first = value[0] if value else ""
    if isinstance(first, int | float):
        return [token_ids(name, value)]
    if not 0 < len(value) <= most:
        raise invalid_value(name, f"'{name}' must hold 1 to {most} entries, not {len(value)}.")
    if isinstance(first, str):
        check_strings(name, value)
        return value
    if not isinstance(first, list):
        raise invalid_type(f"{name}[0]", PROMPT_FORMS, first)
    return [_prompt_tokens(f"{name}[{place}]", tokens) for place, tokens in enumerate(value)]


def _prompt_tokens(name: str, value: Any) -> list[int]:
    tokens = token_ids(name, value)
    if not tokens:
        raise invalid_value(name, f"'{name}' must not be empty.")
    return tokens
