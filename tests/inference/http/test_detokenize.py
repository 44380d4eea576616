"""Detokenising: one id at a time says what all ids at once say, for whatever ids a model may produce."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from inference.http.detokenize import ByteDetokenizer, Vocabulary, WindowDetokenizer

if TYPE_CHECKING:
    from collections.abc import Callable

    from inference.http.detokenize import Detokenizer

SPM_WORDS = ["▁", "▁the", "▁a", "a", "b", "▁▁", "é", "日本", "▁🙂", ".", "\n", "�", "▁�"]


@pytest.fixture(scope="module")
def spm_vocabulary() -> Vocabulary:
    """A tokenizer as Llama 2 and Gemma have it: ▁ for a space, and bytes for what it has no word for."""
    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *SPM_WORDS]
    ids = {word: place for place, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=[], unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in words[:3]])
    tokenizer.add_tokens([AddedToken("<|tool call|>", special=False)])
    return Vocabulary(tokenizer)


def said(detokenizer: Detokenizer, tokens: list[int]) -> str:
    return "".join(map(detokenizer.add, tokens)) + detokenizer.flush()


ByteTokens = st.lists(st.one_of(st.integers(0, 300), st.integers(0, 49151)), max_size=30)
SpmTokens = st.lists(
    st.one_of(st.integers(3, 258), st.integers(0, 272), st.sampled_from([196 + 3, 169 + 3])), max_size=25
)


@given(tokens=ByteTokens)
def test_byte_level_ids_one_by_one_say_what_they_say_at_once(
    demo_vocabulary: Vocabulary, tokens: list[int]
) -> None:
    assert demo_vocabulary.is_byte_level
    assert said(ByteDetokenizer(demo_vocabulary), tokens) == demo_vocabulary.decode(tokens)


@given(tokens=ByteTokens)
def test_a_window_reads_byte_level_ids_as_exactly(demo_vocabulary: Vocabulary, tokens: list[int]) -> None:
    assert said(WindowDetokenizer(demo_vocabulary), tokens) == demo_vocabulary.decode(tokens)


@given(tokens=SpmTokens)
def test_sentencepiece_ids_one_by_one_say_what_they_say_at_once(
    spm_vocabulary: Vocabulary, tokens: list[int]
) -> None:
    assert not spm_vocabulary.is_byte_level
    assert said(spm_vocabulary.detokenizer(), tokens) == spm_vocabulary.decode(tokens)


# The demo's vocabulary lacks some bytes: those of control characters and of unassigned planes.
Characters = st.characters(codec="utf-8", max_codepoint=0x3FFFF, categories=["L", "M", "N", "P", "S", "Z"])


@given(text=st.text(Characters, max_size=40))
def test_any_text_comes_back_as_it_was(
    demo_vocabulary: Vocabulary, encode: Callable[[str], list[int]], text: str
) -> None:
    assert said(demo_vocabulary.detokenizer(), encode(text)) == text


@given(text=st.text("é日🙂 a", min_size=1, max_size=20))
def test_it_never_shows_a_part_of_a_character(
    demo_vocabulary: Vocabulary, encode: Callable[[str], list[int]], text: str
) -> None:
    detokenizer = demo_vocabulary.detokenizer()
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(map(detokenizer.add, encode(text)))


def test_it_keeps_a_leading_space(demo_vocabulary: Vocabulary, encode: Callable[[str], list[int]]) -> None:
    detokenizer = demo_vocabulary.detokenizer()
    assert detokenizer.add(encode(" Paris")[0]) == " Paris"


def test_it_leaves_special_tokens_out(
    demo_vocabulary: Vocabulary, encode: Callable[[str], list[int]]
) -> None:
    assert said(demo_vocabulary.detokenizer(), encode("<|im_start|>hi<|im_end|>")) == "hi"


def test_a_token_that_is_part_of_a_character_is_named_by_its_bytes(
    demo_vocabulary: Vocabulary, encode: Callable[[str], list[int]]
) -> None:
    tokens = encode("🦙")
    assert b"".join(bytes(demo_vocabulary.raw_bytes_of(token)) for token in tokens) == "🦙".encode()


@pytest.fixture(scope="module")
def encode(demo_tokenizer: object) -> Callable[[str], list[int]]:
    return lambda text: demo_tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids  # type: ignore[attr-defined]
