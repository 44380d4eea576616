"""How many tokens a request will take, before anyone has counted them, and what an uncounted one took."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from ollaproject.wire.unreadable import UNREADABLE
from proxy import errors
from proxy.answer.usage import MAX_TOKENS
from proxy.request.bodies import Edit, data_of, edited

if TYPE_CHECKING:
    from proxy.answer.usage import Tokens
    from proxy.call import Call
    from proxy.request.bodies import Body

BYTES_PER_TOKEN = 4
# An event of a stream carries one token, and about so many bytes around it.
BYTES_PER_EVENT = 120
# A longer body is mostly pictures, which take far fewer tokens than their bytes would.
MAX_PROMPT_TOKENS = 32_000
USUAL_ANSWER_TOKENS = 256
# Where the longest answer is said, by route. The routes that are not here give none.
FIELD_OF_PATH = {
    b"/v1/chat/completions": b"max_tokens",
    b"/v1/completions": b"max_tokens",
    b"/v1/messages": b"max_tokens",
    b"/v1/responses": b"max_output_tokens",
}


EMPTY = re.compile(rb"\s*\{\s*\}")


class _Lengths(msgspec.Struct):
    max_tokens: object = None
    max_completion_tokens: object = None
    max_output_tokens: object = None
    n: object = None


_decode = msgspec.json.Decoder(_Lengths).decode


@dataclass(frozen=True, slots=True)
class Estimate:
    """Tokens of the prompt and of the answers. `asked` is the longest answer that was asked for, if any."""

    prompt: int = 0
    answers: int = 0
    asked: int | None = None

    @property
    def total(self) -> int:
        return self.prompt + self.answers


NONE = Estimate()


def estimate(path: bytes, body: Body, most: int | None) -> Estimate:
    """Of a request on an inference route. `most` is the longest answer that its key may have."""
    prompt = min(len(body) // BYTES_PER_TOKEN, MAX_PROMPT_TOKENS)
    if path.rstrip(b"/") not in FIELD_OF_PATH:
        return Estimate(prompt)
    try:
        said = _decode(data_of(body))
    except UNREADABLE:
        return Estimate(prompt, USUAL_ANSWER_TOKENS)
    lengths = [said.max_tokens, said.max_completion_tokens, said.max_output_tokens]
    asked = max((each for each in lengths if type(each) is int and each > 0), default=None)
    length = min(asked or USUAL_ANSWER_TOKENS, most or asked or USUAL_ANSWER_TOKENS)
    number = said.n if type(said.n) is int and said.n > 0 else 1
    return Estimate(prompt, min(length * number, MAX_TOKENS), asked)


def kept_short(path: bytes, body: Body, asked: int | None, most: int) -> Body:
    """The body of a request whose answer may have `most` tokens: it says so itself when the client does not.

    Raises ApiError 400 when the client asks for more.
    """
    if asked is not None:
        if asked > most:
            raise errors.answer_too_long(asked, most)
        return body
    field = FIELD_OF_PATH.get(path.rstrip(b"/"))
    if field is None:
        return body
    data = data_of(body)
    end = data.rfind(b"}")
    separator = b"" if EMPTY.match(data) else b","
    return edited(body, Edit(end, end, b'%s"%s":%d' % (separator, field, most)))


def charged(call: Call, tokens: Tokens | None, guess: Estimate) -> int:
    """How many tokens a call counts for limits, now that it is over: what the endpoint says, else a guess."""
    if tokens is not None:
        return (tokens.prompt or 0) + (tokens.completion or 0)
    if call.target is None or not guess.total:
        return 0
    if call.status not in (0, 200):
        return 0
    size = BYTES_PER_EVENT if call.sends_events else BYTES_PER_TOKEN
    return guess.prompt + min(guess.answers, call.bytes_out // size)
