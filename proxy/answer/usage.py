"""How many tokens a request took, from what the endpoint says of it at the end of its answer.

Streams carry that only when asked. When the client has not asked, we ask in its place, and take out again
what then comes beside its answer. The bytes are otherwise passed on as they are: only the tail is looked at.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import msgspec

from ollaproject.wire.unreadable import UNREADABLE
from proxy.request.bodies import Edit, data_of, edited

if TYPE_CHECKING:
    from proxy.request.bodies import Body

# The routes whose streams end with their usage when `stream_options.include_usage` is set.
PATHS_TO_ASK = frozenset({b"/v1/chat/completions", b"/v1/completions"})
# Usage stands at the end of an answer, in one of the last two events of a stream.
TAIL_BYTES = 4096
# An event is held back until it is whole, to see whether it is the one to take out; a longer one is not.
MAX_HELD_BYTES = 64 * 1024
# Who says more has not counted, and nobody gets more, whatever they ask for. Sums of these fit into what
# databases and Redis add up.
MAX_TOKENS = 2**31 - 1

KEY = b'"usage"'
USAGE = re.compile(rb'"usage"\s*:\s*(?=\{)')
NO_USAGE = re.compile(rb',\s*"usage"\s*:\s*null')
STREAM_OPTIONS = re.compile(rb'"stream_options"\s*:\s*')
EVENT_MARKS = (b"\n\n", b"\r\n\r\n")
EVENT_END = re.compile(rb"(?<=\n\n)|(?<=\r\n\r\n)")


class _Chunk(msgspec.Struct):
    choices: object = None
    usage: object = None


class _Said(msgspec.Struct):
    """An endpoint's usage as it stands there."""

    prompt_tokens: object = None
    completion_tokens: object = None
    prompt_tokens_details: object = None
    input_tokens: object = None
    output_tokens: object = None
    cache_read_input_tokens: object = None
    cache_creation_input_tokens: object = None
    input_tokens_details: object = None


class _Answer(msgspec.Struct):
    usage: _Said | None = None


_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_said = msgspec.json.Decoder(_Said).decode
_decode_chunk = msgspec.json.Decoder(_Chunk).decode
_json = json.JSONDecoder()


class Tokens(msgspec.Struct, frozen=True, gc=False):
    """What an endpoint counted. None is what it did not say; `cached` is a part of `prompt`."""

    prompt: int | None
    completion: int | None
    cached: int | None


class Tap:
    """Sees every piece of an answer's body. With `hide`, usage is taken out of what is passed on."""

    __slots__ = ("_held", "_hide", "_tail")

    def __init__(self, *, hide: bool) -> None:
        self._hide = hide
        self._held = b""
        self._tail = b""

    def show_all(self) -> None:
        """The answer is no event stream: there is nothing in it to hide."""
        self._hide = False

    def take(self, piece: bytes) -> bytes:
        """What is to be passed on of `piece` now: all of it, unless usage is hidden."""
        self._tail = piece if len(piece) >= TAIL_BYTES else (self._tail + piece)[-TAIL_BYTES:]
        if not self._hide:
            return piece
        if self._held:
            piece, self._held = self._held + piece, b""
        if not piece.endswith(b"\n\n"):
            piece = self._hold_half_event(piece)
        return without_usage(piece) if KEY in piece else piece

    def rest(self) -> bytes:
        """What was still held back when the answer ended."""
        held, self._held = self._held, b""
        return held

    def tokens(self) -> Tokens | None:
        """To be asked for when the answer is over."""
        return tokens_in(self._tail)

    def _hold_half_event(self, piece: bytes) -> bytes:
        end = max(piece.rfind(mark) + len(mark) if mark in piece else 0 for mark in EVENT_MARKS)
        if len(piece) - end > MAX_HELD_BYTES:
            return piece
        self._held = piece[end:]
        return piece[:end]


def without_usage(events: bytes) -> bytes:
    """Whole events, without those that carry usage alone and without fields that say there is none yet."""
    return b"".join(_shown(event) for event in EVENT_END.split(events))


def _shown(event: bytes) -> bytes:
    _, marker, data = event.partition(b"data:")
    if not marker or KEY not in data:
        return event
    try:
        chunk = _decode_chunk(data.strip())
    except UNREADABLE:
        return event
    if chunk.choices == [] and chunk.usage is not None:
        return b""
    return NO_USAGE.sub(b"", event)


def asking(body: Body, options: msgspec.Raw) -> Body | None:
    """`body`, a JSON object that asks for a stream, with the wish for usage added and all else as it was.

    `options` is its `stream_options` as they stand there, empty when there are none. None: the client has
    asked itself, or says something there that only the endpoint can judge.
    """
    data = data_of(body)
    if not bytes(options):
        end = data.rfind(b"}")
        return edited(body, Edit(end, end, b',"stream_options":{"include_usage":true}'))
    said = msgspec.json.decode(options)
    places = list(STREAM_OPTIONS.finditer(data))
    if not (said is None or isinstance(said, dict)) or len(places) != 1:
        return None
    if said and said.get("include_usage"):
        return None
    wanted = msgspec.json.encode({**(said or {}), "include_usage": True})
    start = places[0].end()
    return edited(body, Edit(start, start + len(bytes(options)), wanted))


def tokens_in(tail: bytes) -> Tokens | None:
    """The last usage that an answer's tail holds. In a JSON string, its key's quotes would be escaped."""
    if tail.startswith(b"{") and (said := _of_whole(tail)) is not None:
        return _tokens(said)
    place = tail.rfind(KEY)
    while place >= 0:
        if found := USAGE.match(tail, place):
            return _tokens_at(tail, found.end())
        place = tail.rfind(KEY, 0, place)
    return None


def _of_whole(answer: bytes) -> _Said | None:
    """The usage of an answer that is one JSON object: found in a third of the time."""
    try:
        return _decode_answer(answer).usage
    except UNREADABLE:
        return None


def first_tokens_in(head: bytes) -> Tokens | None:
    """The first usage that an answer's beginning holds."""
    found = USAGE.search(head)
    return _tokens_at(head, found.end()) if found else None


def _tokens_at(text: bytes, place: int) -> Tokens | None:
    flat = text[place : text.find(b"}", place) + 1]
    try:
        if flat.count(b"{") == 1:  # as nearly all are: read in a quarter of the time
            return _tokens(_decode_said(flat))
        said, _ = _json.raw_decode(text[place:].decode("utf-8", "replace"))
        return _tokens(msgspec.convert(said, _Said))
    except UNREADABLE:
        return None


def _tokens(said: _Said) -> Tokens:
    """OpenAI's names, those of its Responses, or Anthropic's, whose input comes without what was cached."""
    if said.input_tokens is None and said.output_tokens is None:
        cached = _cached(said.prompt_tokens_details)
        return Tokens(_count(said.prompt_tokens), _count(said.completion_tokens), cached)
    prompt, read = _count(said.input_tokens), _count(said.cache_read_input_tokens)
    written = _count(said.cache_creation_input_tokens)
    if prompt is not None:
        prompt += (read or 0) + (written or 0)
    cached = read if read is not None else _cached(said.input_tokens_details)
    return Tokens(prompt, _count(said.output_tokens), cached)


def _cached(details: object) -> int | None:
    return _count(details.get("cached_tokens")) if isinstance(details, dict) else None


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= MAX_TOKENS else None
