"""What is shown joins to what is decoded; a label is faithful to the bytes; a single token is the text."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from fluoroscope.errors import TokenError
from fluoroscope.pieces import decode, label, single_token
from fluoroscope.prompts import encode
from fluoroscope.tokens import tokenize
from tokenizer_kinds import (
    TEXTS,
    batch_of,
    decoded,
    every_tokenizer,
    tokenizer_of,
    tokens_of,
)


@every_tokenizer
@settings(deadline=None, max_examples=60)
@given(text=TEXTS)
def test_pieces_of_any_text_join_to_the_decoded_ids(name, text):
    tokenizer = tokenizer_of(name)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"] or [0]
    tokens = tokens_of([ids, [*ids, 0]], name)
    for row, pieces in zip([ids, [*ids, 0]], tokens.pieces, strict=True):
        assert len(pieces) == len(row)
        assert "".join(pieces) == decoded(row, tokenizer)
    assert tokens.raw_pieces[0] == tokenizer.convert_ids_to_tokens(ids)


@every_tokenizer
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_pieces_of_any_ids_join_to_the_decoded_ids(name, data):
    tokenizer = tokenizer_of(name)
    beyond = len(tokenizer) + 3  # models have rows of the embedding that their tokenizer does not know
    ids = data.draw(st.lists(st.integers(0, beyond - 1), min_size=1, max_size=12))
    pieces = tokens_of(ids, name, d_vocab=beyond).pieces[0]
    assert len(pieces) == len(ids)
    assert "".join(pieces) == decoded(ids, tokenizer)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("aé", ["a", "", "é"]),
        ("🎉b", ["", "", "", "🎉", "b"]),
        ("a\ufffdb", ["a", "", "", "\ufffd", "b"]),
        (" 日 ", [" ", "", "", "日", " "]),
    ],
)
def test_the_token_that_completes_a_character_shows_it(text, pieces):
    assert tokens_of(text, "bytes", bos=False).pieces == [pieces]


def test_bytes_that_are_no_character_show_where_they_stand():
    number = tokenizer_of("bytes").convert_tokens_to_ids
    ids = [number("ÿ"), number("a"), number("â"), number("b")]  # FF 61 E2 62
    assert tokens_of(ids, "bytes").pieces == [["\ufffd", "a", "\ufffd", "b"]]


def test_a_late_byte_that_changes_earlier_ones_does_not_break_the_join():
    number = tokenizer_of("byte-fallback").convert_tokens_to_ids
    ids = [number("<0x41>"), number("<0xFF>"), number("h")]  # byte fallback reads a broken run as U+FFFD throughout
    assert "".join(tokens_of(ids, "byte-fallback").pieces[0]) == "\ufffd\ufffdh"


def test_a_later_token_that_rewrites_an_earlier_one_does_not_break_the_join():
    backend = Tokenizer(models.WordLevel({"?": 0, "a": 1, "b": 2}, unk_token="?"))
    backend.decoder = decoders.Sequence([decoders.Fuse(), decoders.Replace("ab", "c")])
    tokens = tokenize([1, 1, 2], PreTrainedTokenizerFast(tokenizer_object=backend), d_vocab=3, n_ctx=None)
    assert tokens.pieces == [["a", "", "c"]]


def test_pieces_keep_the_space_of_a_first_word():
    tokens = tokens_of("he", "byte-fallback")
    assert tokens.pieces == [["<s>", " he"]]
    assert tokens.raw_pieces == [["<s>", "▁he"]]


def test_without_a_tokenizer_pieces_are_numbers():
    assert batch_of([2], "right").pieces == batch_of([2], "right").raw_pieces == [["<|1|>", "<|2|>"]]


def test_slow_tokenizers_are_shown_too(monkeypatch):
    monkeypatch.setattr(PreTrainedTokenizerFast, "is_fast", False)
    assert tokens_of("é🎉a", "bytes", bos=False).pieces == [["", "é", "", "", "", "🎉", "a"]]


def test_single_token():
    tokenizer = tokenizer_of("gpt2")
    assert single_token(" Paris", tokenizer) == 6342
    assert single_token("<|endoftext|>", tokenizer) == 50256
    with pytest.raises(TokenError, match=r"'SWORDFISH' is \d tokens: 'SW', 'OR', 'DF', 'ISH'"):
        single_token("SWORDFISH", tokenizer)
    with pytest.raises(TokenError, match=r"' Kyoto' is one token: \d+"):
        single_token("Kyoto", tokenizer)
    with pytest.raises(TokenError, match="'' is 0 tokens"):
        single_token("", tokenizer)
    with pytest.raises(TokenError, match="needs a tokenizer"):
        single_token("a", None)


@pytest.mark.parametrize(
    ("name", "text", "raw"),
    [
        ("gpt2", " She", "ĠShe"),
        ("gpt2", "She", "She"),
        ("gpt2", "ing", "ing"),
        ("stories", " She", "▁She"),
        ("stories", "She", "▁She"),
        ("stories", "ing", "ing"),
        ("stories", " ", "▁"),
        ("byte-fallback", " he", "▁he"),
        ("byte-fallback", "he", "▁he"),
        ("byte-fallback", "\n", "<0x0A>"),
        ("byte-bpe", " the", "Ġthe"),
        ("word-piece", " b", "b"),
        ("chars", "S", "S"),
        ("chars", " ", " "),
    ],
)
def test_a_leading_space_means_this_word_inside_a_sentence(name, text, raw):
    tokenizer = tokenizer_of(name)
    assert single_token(text, tokenizer) == tokenizer.convert_tokens_to_ids(raw)


@pytest.mark.parametrize(
    ("name", "text"), [("chars", " S"), ("chars", " She"), ("stories", "  She"), ("gpt2", "  She")]
)
def test_a_word_and_its_spaces_that_are_several_tokens_are_refused(name, text):
    with pytest.raises(TokenError, match=rf"'{text}' is \d tokens"):
        single_token(text, tokenizer_of(name))


@every_tokenizer
def test_whatever_is_accepted_as_a_single_token_reads_as_the_text(name):
    tokenizer = tokenizer_of(name)
    for number in range(0, len(tokenizer), max(1, len(tokenizer) // 500)):
        shown = label(number, tokenizer)
        try:
            found = single_token(shown, tokenizer)
        except TokenError:
            continue
        assert label(found, tokenizer) in (shown, " " + shown)


def test_single_token_refuses_the_token_of_another_text():
    with pytest.raises(TokenError, match="another text"):
        single_token("?", tokenizer_of("word-piece"))


@pytest.mark.parametrize(
    ("name", "raw", "shown"),
    [
        ("bytes", "a", "a"),
        ("bytes", "Ġ", " "),
        ("bytes", "Ċ", "\n"),
        ("bytes", "â", "<0xE2>"),
        ("bytes", "<s>", "<s>"),
        ("byte-bpe", "Ġthe", " the"),
        ("byte-fallback", "▁he", " he"),
        ("byte-fallback", "▁", " "),
        ("byte-fallback", "h", "h"),
        ("byte-fallback", "<0xE2>", "<0xE2>"),
        ("byte-fallback", "<0x0A>", "\n"),
        ("byte-fallback", "<s>", "<s>"),
        ("gpt2", "ĠðŁ", " <0xF0><0x9F>"),
        ("gpt2", "Ã©", "é"),
        ("gpt2", "ï¿½", "\ufffd"),
        ("stories", "▁He", " He"),
    ],
)
def test_labels_are_faithful_to_the_bytes(name, raw, shown):
    tokenizer = tokenizer_of(name)
    number = tokenizer.convert_tokens_to_ids(raw)
    assert tokenizer.convert_ids_to_tokens(number) == raw
    assert label(number, tokenizer) == shown


@pytest.mark.parametrize("name", ["bytes", "byte-bpe", "byte-fallback"])
def test_labels_tell_all_ids_apart(name):
    tokenizer = tokenizer_of(name)
    labels = [label(number, tokenizer) for number in range(len(tokenizer))]
    assert all(labels)
    doubles = len(labels) - len(set(labels))
    assert doubles == (sum(f"<0x{ord(char):02X}>" in tokenizer.vocab for char in "abcdehilnorstu[]/IN ")
                       if name == "byte-fallback" else 0)  # fmt: skip


def test_labels_of_ids_beyond_the_tokenizer():
    assert label(512, None) == "<|512|>"
    assert label(1 << 40, tokenizer_of("bytes")) == f"<|{1 << 40}|>"
    with pytest.raises(TokenError, match="no token -1"):
        label(-1, tokenizer_of("bytes"))


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_decode_takes_lists_arrays_and_tensors(kind):
    tokenizer = tokenizer_of("byte-bpe")
    ids = encode("the cat é", tokenizer)
    assert decode(kind(ids), tokenizer) == "<s>the cat é"


def test_importing_tokens_does_not_import_transformers():
    code = "import sys, fluoroscope.tokens; sys.exit('transformers' in sys.modules or 'tokenizers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parent).returncode == 0
