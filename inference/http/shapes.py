"""The JSON of the answers, as the seed page and OpenAI's reference print it, field by field."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

from ollaproject.wire import sse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inference.http.answers import Answer, Choice, Piece, ShownToken
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
        self._of_vllm = generating.of_vllm

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

    def opening(self, choices: Sequence[Choice]) -> list[dict[str, Any]]:
        """The chunks before any text."""
        raise NotImplementedError

    def growth(self, piece: Piece) -> list[dict[str, Any]]:
        """The chunks that say what a choice has grown by."""
        raise NotImplementedError

    def choice(self, index: int, pieces: list[Piece]) -> dict[str, Any]:
        """A whole choice."""
        raise NotImplementedError

    def _prompt_ids(self, choice: Choice) -> dict[str, Any]:
        """vLLM's `prompt_token_ids`, if they are wanted."""
        return {"prompt_token_ids": choice.row.prompt} if self._of_vllm.returns_ids else {}

    def _prompt_logprobs(self, choice: Choice) -> dict[str, Any]:
        """vLLM's `prompt_logprobs`, if they are wanted."""
        most = self._of_vllm.prompt_logprobs
        if most is None:
            return {}
        judged = [self._judged(token, most) for token in choice.row.prompt_odds]
        return {"prompt_logprobs": judged}

    def _judged(self, token: Token, most: int) -> dict[str, Any] | None:
        """A token of the prompt and the likeliest in its place, by their ids. None for the first one."""
        if token.logprob is None:
            return None
        ranked: dict[int, tuple[float, int | None]]
        ranked = {id_: (logprob, rank) for rank, (id_, logprob) in enumerate(token.likeliest[:most], start=1)}
        ranked = {token.id: (token.logprob, token.rank), **ranked}
        return {
            str(id_): {"logprob": logprob, "rank": rank, "decoded_token": self._vocabulary.text_of(id_)}
            for id_, (logprob, rank) in ranked.items()
        }

    def _ids(self, *pieces: Piece) -> dict[str, Any]:
        """vLLM's `token_ids`: what was said in `pieces`, whatever it has become."""
        return (
            {"token_ids": [id_ for piece in pieces for id_ in piece.ids]} if self._of_vllm.returns_ids else {}
        )

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

    def whole(self, choices: list[dict[str, Any]], answer: Answer) -> dict[str, Any]:
        first = answer.choices[0]
        return {**super().whole(choices, answer), **self._prompt_ids(first), **self._prompt_logprobs(first)}

    def opening(self, choices: Sequence[Choice]) -> list[dict[str, Any]]:
        first, *others = (self._delta(choice.index, {"role": "assistant"}) for choice in choices)
        return [{**first, **self._prompt_ids(choices[0])}, *others]

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
            last["choices"][0] |= stop_reason(piece)
            chunks.append(last)
        if piece.ids:
            chunks = chunks or [self._delta(piece.choice.index, {})]
            chunks[0]["choices"][0] |= self._ids(piece)
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
            **stop_reason(pieces[-1]),
            **self._ids(*pieces),
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
            "token": f"token_id:{token}" if self._of_vllm.names_by_ids else self._vocabulary.text_of(token),
            "logprob": logprob,
            "bytes": self._vocabulary.raw_bytes_of(token),
        }


def stop_reason(piece: Piece) -> dict[str, str | int]:
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
