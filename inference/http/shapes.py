"""The JSON of the answers, as the seed page and OpenAI's reference print it, field by field."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

from inference.http.answers import ShownToken
from ollaproject.wire import sse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inference.http.answers import Answer, Choice, Piece
    from inference.http.detokenize import Vocabulary
    from inference.http.schema import Generating
    from inference.http.speech import ToolCall
    from inference.work import Token

OWNER = "vllm-mlx"


def usage(answer: Answer) -> dict[str, Any]:
    counts = {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": answer.cached_tokens},
    }
    thought = answer.reasoning_tokens
    if thought is None:
        return counts
    return {**counts, "completion_tokens_details": {"reasoning_tokens": thought}}


def model_entry(name: str, *, created: int, max_model_len: int) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": OWNER,
        "root": name,
        "parent": None,
        "permission": [],
        "max_model_len": max_model_len,
    }


class Shape:
    """What chat and plain completions write alike. One per response: the id and the time stay the same in a
    stream.
    """

    id_prefix: str
    object: str
    chunk_object: str

    def __init__(self, generating: Generating, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._include_usage = generating.include_usage
        self._head = {"id": f"{self.id_prefix}-{secrets.token_hex(12)}", "created": int(time.time())}
        self._model = generating.model
        self._continuous_usage = generating.continuous_usage
        self._top = generating.top_logprobs

    def whole(self, choices: list[dict[str, Any]], answer: Answer) -> dict[str, Any]:
        """The answer that is not streamed."""
        return {**self._envelope(self.object), "choices": choices, "usage": usage(answer)}

    def chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        """One event of a stream."""
        envelope = {**self._envelope(self.chunk_object), "choices": choices}
        return {**envelope, "usage": None} if self._include_usage else envelope

    def usage_chunk(self, answer: Answer) -> dict[str, Any]:
        """The extra last event that `stream_options.include_usage` asks for."""
        return {**self._envelope(self.chunk_object), "choices": [], "usage": usage(answer)}

    @property
    def id(self) -> str:
        """The answer's."""
        return str(self._head["id"])

    def encode(self, chunks: list[dict[str, Any]], answer: Answer) -> bytes:
        """Chunks as the client reads them; with the usage so far, when it is wanted in each."""
        if self._continuous_usage:
            chunks = [{**chunk, "usage": usage(answer)} for chunk in chunks]
        return b"".join(map(sse.event, chunks))

    def ending(self, answer: Answer) -> bytes:
        """What a stream ends with."""
        last = sse.event(self.usage_chunk(answer)) if self._include_usage else b""
        return last + sse.DONE

    def opening(self, indexes: Sequence[int]) -> list[dict[str, Any]]:
        """The chunks before any text."""
        raise NotImplementedError

    def growth(self, piece: Piece) -> list[dict[str, Any]]:
        """The chunks that say what a choice has grown by."""
        raise NotImplementedError

    def choice(self, index: int, pieces: list[Piece]) -> dict[str, Any]:
        """A whole choice."""
        raise NotImplementedError

    def _envelope(self, kind: str) -> dict[str, Any]:
        return {
            "id": self._head["id"],
            "object": kind,
            "created": self._head["created"],
            "model": self._model,
        }


class ChatShape(Shape):
    id_prefix = "chatcmpl"
    object = "chat.completion"
    chunk_object = "chat.completion.chunk"

    def opening(self, indexes: Sequence[int]) -> list[dict[str, Any]]:
        return [self._delta(index, {"role": "assistant"}) for index in indexes]

    def growth(self, piece: Piece) -> list[dict[str, Any]]:
        chunks = []
        if piece.reasoning:
            chunks.append(self._delta(piece.choice.index, {"reasoning_content": piece.reasoning}))
        if piece.text or piece.tokens:
            chunks.append(self._delta(piece.choice.index, {"content": piece.text}, tokens=piece.tokens))
        chunks += [
            self._delta(piece.choice.index, {"tool_calls": [delta]})
            for call in piece.calls
            for delta in _call_deltas(call)
        ]
        if piece.finish_reason:
            last = self._delta(piece.choice.index, {}, finish_reason=piece.finish_reason)
            last["choices"][0] |= _stop_reason(piece)
            chunks.append(last)
        return chunks

    def choice(self, index: int, pieces: list[Piece]) -> dict[str, Any]:
        tokens = [token for piece in pieces for token in piece.tokens]
        calls = _whole_calls(pieces)
        text = "".join(piece.text for piece in pieces)
        reasoning = "".join(piece.reasoning for piece in pieces)
        message: dict[str, Any] = {"role": "assistant", "content": text or (None if calls else "")}
        if reasoning:
            message["reasoning_content"] = reasoning
        if calls:
            message["tool_calls"] = calls
        return {
            "index": index,
            "message": message,
            "logprobs": self._logprobs(tokens),
            "finish_reason": pieces[-1].finish_reason,
            **_stop_reason(pieces[-1]),
        }

    def _delta(
        self,
        index: int,
        delta: dict[str, Any],
        *,
        tokens: Sequence[ShownToken] = (),
        finish_reason: str | None = None,
    ) -> dict[str, Any]:
        logprobs = self._logprobs(tokens) if tokens else None
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        return self.chunk([choice])

    def _logprobs(self, tokens: Sequence[ShownToken]) -> dict[str, Any] | None:
        if self._top is None:
            return None
        return {"content": [self._logprob(shown) for shown in tokens], "refusal": None}

    def _logprob(self, shown: ShownToken) -> dict[str, Any]:
        token = shown.token
        likeliest = [self._named(other, logprob) for other, logprob in token.likeliest]
        return {**self._named(token.id, token.logprob), "top_logprobs": likeliest}

    def _named(self, token: int, logprob: float | None) -> dict[str, Any]:
        return {
            "token": self._vocabulary.text_of(token),
            "logprob": logprob,
            "bytes": self._vocabulary.raw_bytes_of(token),
        }


def _stop_reason(piece: Piece) -> dict[str, str | int]:
    """Which stop string or token ended a choice, as vLLM says it; nothing when none did."""
    matched = piece.choice.stop_reason if piece.finish_reason else None
    return {} if matched is None else {"stop_reason": matched}


def _whole_calls(pieces: list[Piece]) -> list[dict[str, Any]]:
    calls: dict[int, dict[str, Any]] = {}
    for call in (call for piece in pieces for call in piece.calls):
        known = calls.setdefault(call.place, _opening(call))
        known["function"]["arguments"] += call.arguments
    return list(calls.values())


def _opening(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}


def _call_deltas(call: ToolCall) -> list[dict[str, Any]]:
    """Name first, arguments after it, as clients put calls together."""
    deltas = [{"index": call.place, **_opening(call)}] if call.name else []
    if call.arguments:
        deltas.append({"index": call.place, "function": {"arguments": call.arguments}})
    return deltas


class CompletionShape(Shape):
    id_prefix = "cmpl"
    object = "text_completion"
    chunk_object = "text_completion"

    def __init__(self, generating: Generating, vocabulary: Vocabulary, echoes: list[str | None]) -> None:
        """`echoes` is the text to show before each choice, None where none is wanted."""
        super().__init__(generating, vocabulary)
        self._echoes = echoes
        self._echoed: set[int] = set()

    def opening(self, indexes: Sequence[int]) -> list[dict[str, Any]]:  # noqa: ARG002 -- echoes come one by one
        return []

    def growth(self, piece: Piece) -> list[dict[str, Any]]:
        choice, chunks = piece.choice, []
        echo = self._echoes[choice.index]
        if echo is not None and choice.index not in self._echoed:
            self._echoed.add(choice.index)
            chunks.append(self.chunk([self._text(choice.index, echo, tokens=self._of_prompt(choice))]))
        tokens = _behind(echo or "", piece.tokens)
        said = self._text(choice.index, piece.text, tokens=tokens, finish_reason=piece.finish_reason)
        return [*chunks, self.chunk([{**said, **_stop_reason(piece)}])]

    def choice(self, index: int, pieces: list[Piece]) -> dict[str, Any]:
        echo, last = self._echoes[index], pieces[-1]
        tokens = [] if echo is None else self._of_prompt(last.choice)
        tokens += _behind(echo or "", [token for piece in pieces for token in piece.tokens])
        text = (echo or "") + "".join(piece.text for piece in pieces)
        whole = self._text(index, text, tokens=tokens, finish_reason=last.finish_reason)
        return {**whole, **_stop_reason(last)}

    def _of_prompt(self, choice: Choice) -> list[ShownToken]:
        """The prompt's tokens, where they were judged, and where their texts begin.

        A special token is part of the text only where a prompt that is text has it by name.
        """
        echo, vocabulary = self._echoes[choice.index] or "", self._vocabulary
        detokenizer, shown, offset = vocabulary.detokenizer(), [], 0
        for token in choice.row.prompt_odds:
            shown.append(ShownToken(token, offset))
            name = vocabulary.text_of(token.id) if vocabulary.is_special(token.id) else ""
            offset += len(name) if echo.startswith(name, offset) else 0
            offset += len(detokenizer.add(token.id))
        return shown

    def _text(
        self,
        index: int,
        text: str,
        *,
        tokens: Sequence[ShownToken] = (),
        finish_reason: str | None = None,
    ) -> dict[str, Any]:
        logprobs = self._logprobs(tokens) if self._top is not None else None
        return {"text": text, "index": index, "logprobs": logprobs, "finish_reason": finish_reason}

    def _logprobs(self, tokens: Sequence[ShownToken]) -> dict[str, Any]:
        name = self._vocabulary.name_of
        return {
            "tokens": [name(shown.token.id) for shown in tokens],
            "token_logprobs": [shown.token.logprob for shown in tokens],
            "top_logprobs": [
                None
                if shown.token.logprob is None  # the first one of a prompt
                else {name(token): logprob for token, logprob in _with_itself(shown.token).items()}
                for shown in tokens
            ],
            "text_offset": [shown.offset for shown in tokens],
        }


def _with_itself(token: Token) -> dict[int, float | None]:
    """The likeliest tokens and the one that came, so one more than were asked for, as OpenAI has it."""
    return {**dict(token.likeliest), token.id: token.logprob}


def _behind(echo: str, tokens: Sequence[ShownToken]) -> list[ShownToken]:
    return [shown._replace(offset=shown.offset + len(echo)) for shown in tokens]
