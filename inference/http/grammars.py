"""Grammars compiled for one model's vocabulary. A grammar that is not one is a 400 before anything runs.

Compiling takes milliseconds to seconds, so this runs on the tokenizing thread; llguidance lets go of the
interpreter meanwhile.
"""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from inference.http.fields import BAD_REQUEST, unsupported
from ollaproject.wire.openai_errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Tokenizer

    from inference.http.structure import Structure

logger = logging.getLogger(__name__)

SILENT = 0
"""llguidance would otherwise write what was generated to standard error."""
MAX_ERROR_CHARACTERS = 400
MAX_LEXER_WORK = 300_000
"""What llguidance may do to see whether the patterns of a grammar are too large, in its own units. Nested
repetitions are refused within a third of a second, not within three; five thousand words need 100,000.
"""


class Grammars:
    """One per model. `width` is how many logits it has, `ends` the tokens that end an answer."""

    def __init__(self, tokenizer: Tokenizer, *, width: int, ends: Sequence[int]) -> None:
        self._source = tokenizer
        self._width = max(width, tokenizer.get_vocab_size(with_added_tokens=True))
        self._ends = list(ends)
        self._limits = LLParserLimits(initial_lexer_fuel=MAX_LEXER_WORK)

    def matcher(self, structure: Structure) -> LLMatcher:
        """A matcher at the beginning of an answer, to be copied for each choice.

        ApiError when the grammar is broken or uses what llguidance does not know, or when the model's
        vocabulary cannot be constrained.
        """
        tokenizer = self._tokenizer
        if tokenizer is None:
            message = (
                f"'{structure.param}' is not supported with this model: its tokenizer has no known form."
            )
            raise unsupported(structure.param, message)
        is_broken, messages = LLMatcher.validate_grammar_with_warnings(structure.grammar, tokenizer)
        matcher = LLMatcher(tokenizer, structure.grammar, log_level=SILENT, limits=self._limits)
        if is_broken or matcher.is_error():
            reason = (messages[0] if messages else matcher.get_error())[:MAX_ERROR_CHARACTERS]
            raise _refused(structure, reason)
        beginning = matcher.deep_copy()
        # A large grammar takes seconds to say what may come first, and its copies know it then: no answer
        # should have to wait for that on the engine thread.
        allowed = int.from_bytes(beginning.compute_bitmask(), "little")
        if not allowed or beginning.is_error():
            raise _refused(structure, f"there is nothing that it can begin with ({_error_of(beginning)}).")
        # One that is too large for llguidance's lexer says so behind the first token only.
        beginning.consume_token((allowed & -allowed).bit_length() - 1)
        if beginning.is_error():
            raise _refused(structure, f"it is too large ({_error_of(beginning)}).")
        return matcher

    @cached_property
    def _tokenizer(self) -> LLTokenizer | None:
        """Built when the first request needs it: it takes a fraction of a second."""
        if not self._ends:
            return None
        try:
            return LLTokenizer(self._source.to_str(), n_vocab=self._width, eos_token=self._ends)
        except Exception as error:  # noqa: BLE001 -- llguidance raises what its Rust parts say
            logger.warning("Structured output is not possible with this model's tokenizer: %s", error)
            return None


def _error_of(matcher: LLMatcher) -> str:
    """The first line: the rest of llguidance's text holds what was generated."""
    return str(matcher.get_error().partition("\n")[0])


def _refused(structure: Structure, reason: str) -> ApiError:
    message = f"'{structure.param}' cannot be followed: {reason}"
    return ApiError(BAD_REQUEST, "invalid_grammar", message, param=structure.param)
