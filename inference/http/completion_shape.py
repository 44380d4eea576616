"""The JSON of plain completions, as OpenAI's reference prints it, with what a prompt was in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference.http.answers import ShownToken
from inference.http.shapes import Shape, stop_reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inference.http.answers import Choice, Piece
    from inference.http.detokenize import Vocabulary
    from inference.http.schema import Generating
    from inference.work import Token


class CompletionShape(Shape):
    id_prefix = "cmpl"
    object = "text_completion"
    chunk_object = "text_completion"

    def __init__(self, generating: Generating, vocabulary: Vocabulary, echoes: list[str | None]) -> None:
        """`echoes` is the text to show before each choice, None where none is wanted."""
        super().__init__(generating, vocabulary)
        self._echoes = echoes
        self._begun: set[int] = set()

    def opening(self, choices: Sequence[Choice]) -> list[dict[str, Any]]:  # noqa: ARG002
        return []  # echoes come one by one

    def growth(self, piece: Piece) -> list[dict[str, Any]]:
        choice, chunks = piece.choice, []
        echo = self._echoes[choice.index]
        if echo is not None and choice.index not in self._begun:
            chunks.append(self.chunk([self._text(choice.index, echo, tokens=self._of_prompt(choice))]))
        tokens = _behind(echo or "", piece.tokens)
        said = self._text(choice.index, piece.text, tokens=tokens, finish_reason=piece.finish_reason)
        chunks.append(self.chunk([{**said, **stop_reason(piece), **self._ids(piece)}]))
        if choice.index not in self._begun:
            self._begun.add(choice.index)
            chunks[0]["choices"][0] |= self._prompt_ids(choice)
        return chunks

    def choice(self, index: int, pieces: list[Piece]) -> dict[str, Any]:
        echo, last = self._echoes[index], pieces[-1]
        tokens = [] if echo is None else self._of_prompt(last.choice)
        tokens += _behind(echo or "", [token for piece in pieces for token in piece.tokens])
        text = (echo or "") + "".join(piece.text for piece in pieces)
        whole = self._text(index, text, tokens=tokens, finish_reason=last.finish_reason)
        asked = {**self._ids(*pieces), **self._prompt_ids(last.choice), **self._prompt_logprobs(last.choice)}
        return {**whole, **stop_reason(last), **asked}

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
        name = "token_id:{}".format if self._of_vllm.names_by_ids else self._vocabulary.name_of
        return {
            "tokens": [name(shown.token.id) for shown in tokens],
            "token_logprobs": [shown.token.logprob for shown in tokens],
            "top_logprobs": [
                None
                if shown.token.logprob is None  # the first one of a prompt
                else {name(token): logprob for token, logprob in _with_itself(shown.token, self._top).items()}
                for shown in tokens
            ],
            "text_offset": [shown.offset for shown in tokens],
        }


def _with_itself(token: Token, most: int | None) -> dict[int, float | None]:
    """`most` of the likeliest tokens and the one that came, so one more than asked for, as OpenAI has it."""
    return {**dict(token.likeliest[:most]), token.id: token.logprob}


def _behind(echo: str, tokens: Sequence[ShownToken]) -> list[ShownToken]:
    return [shown._replace(offset=shown.offset + len(echo)) for shown in tokens]
