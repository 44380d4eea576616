"""Token ids to text, one at a time and exactly: what a stream says is what decoding all ids at once says.

A tokenizer whose decoder works on bytes (Llama 3, Qwen, SmolLM, GPT) is read byte by byte; every other one
is asked to decode a window of the last tokens again. Neither splits a character or loses a leading space.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, Any, Protocol

from tokenizers import decoders

if TYPE_CHECKING:
    from tokenizers import Tokenizer

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
BYTE_TOKEN = re.compile(r"<0x[0-9A-F]{2}>")


class Detokenizer(Protocol):
    def add(self, token: int) -> str:
        """The text that is certain now that `token` has come."""

    def flush(self) -> str:
        """The rest, when no more tokens will come."""


class Vocabulary:
    """What the ids of a tokenizer stand for. One per model, shared by all its requests."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.is_byte_level = isinstance(tokenizer.decoder, decoders.ByteLevel)
        added = tokenizer.get_added_tokens_decoder()
        self._special = frozenset(token for token, entry in added.items() if entry.special)
        self._bytes: dict[int, bytes] = {}

    def detokenizer(self) -> Detokenizer:
        return ByteDetokenizer(self) if self.is_byte_level else WindowDetokenizer(self)

    def decode(self, tokens: list[int], *, skip_special: bool = True) -> str:
        """The text of `tokens`, special ones left out or by name."""
        return self._tokenizer.decode(tokens, skip_special_tokens=skip_special)

    def is_special(self, token: int) -> bool:
        return token in self._special

    def says_nothing(self, token: int) -> bool:
        """Whether `token` is special or stands for nothing, so that decoding leaves it out."""
        return token in self._special or self._tokenizer.id_to_token(token) is None

    def is_byte(self, token: int) -> bool:
        """Whether `token` is one raw byte, written as `<0xE2>`."""
        return BYTE_TOKEN.fullmatch(self._tokenizer.id_to_token(token) or "") is not None

    def bytes_of(self, token: int) -> bytes:
        """The bytes of a byte-level token; empty for special tokens and for ids that stand for nothing."""
        known = self._bytes.get(token)
        if known is None:
            known = self._bytes[token] = self._read(token)
        return known

    def _read(self, token: int) -> bytes:
        word = None if token in self._special else self._tokenizer.id_to_token(token)
        if word is None:
            return b""
        try:
            return bytes(BYTE_OF_CHARACTER[character] for character in word)
        except KeyError:  # an added token, which is written as it is
            return word.encode()

    def text_of(self, token: int) -> str:
        """The text of one token alone, for logprobs: special tokens by name, part of a character as `�`."""
        if self.is_byte_level and token not in self._special:
            return self.bytes_of(token).decode(errors="replace")
        return self._tokenizer.decode([token], skip_special_tokens=False)

    def name_of(self, token: int) -> str:
        """The same, but parts of characters by their bytes, as OpenAI's completions name them: `bytes:\\xf0`.
        So no two tokens of a byte-level tokenizer are called alike.
        """
        text = self.text_of(token)
        if REPLACEMENT not in text:
            return text
        raw = self.raw_bytes_of(token)
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)

    def raw_bytes_of(self, token: int) -> list[int]:
        """The UTF-8 bytes of one token alone, which may be part of a character."""
        word = self._tokenizer.id_to_token(token) or ""
        if self.is_byte_level and token not in self._special:
            return list(self.bytes_of(token))
        if BYTE_TOKEN.fullmatch(word):
            return [int(word[3:5], 16)]
        return list(self.text_of(token).encode())


class ByteDetokenizer:
    """For byte-level tokenizers: each token is bytes, and UTF-8 says where characters end."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._utf8: Any = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def add(self, token: int) -> str:
        text: str = self._utf8.decode(self._vocabulary.bytes_of(token))
        return text

    def flush(self) -> str:
        text: str = self._utf8.decode(b"", final=True)
        return text


class WindowDetokenizer:
    """For every other tokenizer: decode the last tokens with and without the new ones; the difference is
    new text.

    A run of byte tokens is held until it ends, because one bad byte changes how the whole run reads.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._window: list[int] = []
        self._known = 0  # how many tokens of the window have been given out; they are its context

    def add(self, token: int) -> str:
        if self._vocabulary.says_nothing(token):
            return ""  # it does not even end a run of bytes
        self._window.append(token)
        return "" if self._vocabulary.is_byte(token) else self._new_text(whole=False)

    def flush(self) -> str:
        return self._new_text(whole=True)

    def _new_text(self, *, whole: bool) -> str:
        context = self._vocabulary.decode(self._window[: self._known])
        text = self._vocabulary.decode(self._window)
        if not whole and text.endswith(REPLACEMENT):
            return ""
        new = text[len(context) :]
        if new:
            # What was just given out is the context of what comes next: without one, a leading space would
            # be lost.
            del self._window[: self._known]
            self._known = len(self._window)
        return new


def _byte_alphabet() -> dict[str, int]:
    """What byte-level tokenizers write for the 256 bytes: printable ones as they are, others moved up."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    moved = {chr(256 + position): byte for position, byte in enumerate(others)}
    return {chr(byte): byte for byte in printable} | moved


BYTE_OF_CHARACTER = _byte_alphabet()
