"""A prompt's prefix keys, for the cache-aware strategy, from the bytes of the request.

A block is a message, or a kilobyte of a longer one: a conversation that grows repeats its messages byte for
byte. Keys are running checksums. A rare clash costs no more than a cold cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

import msgspec

from endpoints.routing.warmth import KEY_SHIFT
from ollaproject.wire.unreadable import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK_BYTES = 1024
MAX_BLOCKS = 256
# A longer list is not taken apart: it has enough blocks of its own, and splitting it would take milliseconds.
MAX_BYTES_SPLIT = BLOCK_BYTES * MAX_BLOCKS
LONGEST_LEAD = 16
NOTHING = msgspec.Raw()

_split = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Prompt(msgspec.Struct):
    """The fields of a request that a prompt is made of, as they stand in it. Models expect tools first."""

    tools: msgspec.Raw = NOTHING
    system: msgspec.Raw = NOTHING
    instructions: msgspec.Raw = NOTHING
    messages: msgspec.Raw = NOTHING
    prompt: msgspec.Raw = NOTHING
    input: msgspec.Raw = NOTHING


def keys_of(prompt: Prompt, model: str) -> tuple[int, ...]:
    """Shortest prefix first. The same text for another model is another prompt."""
    checksum, length = crc32(model.encode()), 0
    keys: list[int] = []
    for piece in _pieces_of(prompt):
        if len(keys) >= MAX_BLOCKS:
            break
        size = len(memoryview(piece))
        if size <= BLOCK_BYTES:
            checksum = crc32(piece, checksum)
            length += size
            keys.append(length << KEY_SHIFT | checksum)
            continue
        for block in _cut(memoryview(piece)[: (MAX_BLOCKS - len(keys)) * BLOCK_BYTES]):
            checksum = crc32(block, checksum)
            length += len(block)
            keys.append(length << KEY_SHIFT | checksum)
    return tuple(keys)


def _pieces_of(prompt: Prompt) -> list[msgspec.Raw]:
    pieces = [each for each in (prompt.tools, prompt.system, prompt.instructions) if each is not NOTHING]
    for field in (prompt.messages, prompt.prompt, prompt.input):
        if field is not NOTHING:
            pieces += _pieces(field)
    return pieces


def _pieces(field: msgspec.Raw) -> list[msgspec.Raw]:
    """The elements of a list of objects; anything else, such as a list of tokens, is one piece."""
    view = memoryview(field)
    lead = bytes(view[:LONGEST_LEAD])
    if len(view) > MAX_BYTES_SPLIT or not (lead[:1] == b"[" and lead[1:].lstrip()[:1] == b"{"):
        return [field]
    try:
        return _split(view)
    except UNREADABLE:
        return [field]


def _cut(piece: memoryview) -> Iterator[memoryview]:
    for start in range(0, len(piece), BLOCK_BYTES):
        yield piece[start : start + BLOCK_BYTES]
