"""Ids are the truth: what is shown joins to what is decoded, BOS stands once, indices count real tokens."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from fluoroscope.errors import TokenError
from fluoroscope.tokens import Tokens, Turn, decode, encode, label, single_token, tokenize
from shared import SHARED

CHARS = st.characters(exclude_categories=["Cs"])
TEXTS = st.text(st.one_of(CHARS, st.sampled_from("ab \né🎉日\ufffd▁Ġ<>")), max_size=30)
SPECIALS = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|head|>", "<|/head|>", "<|eot|>", "<turn>", "</turn>"]
CORPUS = ["the cat sat on the mat\n\n and the user said hello world to the model\n\n"] * 3


def with_bos(backend: Tokenizer) -> PreTrainedTokenizerFast:
    backend.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIALS])
    parts = [("<s>", backend.token_to_id("<s>"))]
    before = [backend.post_processor] if backend.post_processor is not None else []
    template = processors.TemplateProcessing(single="<s> $A", special_tokens=parts)
    backend.post_processor = processors.Sequence([*before, template])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")


def byte_level(*, trained: bool, trim: bool = False) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    size = 330 if trained else 256
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(CORPUS if trained else [], trainer)
    backend.post_processor = processors.ByteLevel(trim_offsets=trim)
    return with_bos(backend)


def byte_fallback() -> PreTrainedTokenizerFast:
    words = ["<unk>", *SPECIALS[:2], *(f"<0x{byte:02X}>" for byte in range(256)), *"▁abcdehilnorstu[]/IN", "▁h", "▁he"]
    merges = [("▁", "h"), ("▁h", "e")]
    vocab = {word: number for number, word in enumerate(words)}
    backend = Tokenizer(models.BPE(vocab, merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return with_bos(backend)


def word_piece() -> PreTrainedTokenizerFast:
    vocab = {word: number for number, word in enumerate(["[UNK]", "a", "##b", "##a", "b", "!", "'", "##s"])}
    backend = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    return with_bos(backend)


def from_shared(name: str) -> PreTrainedTokenizerFast:
    folder = SHARED / "models" / name
    if not folder.is_dir():
        pytest.skip(f"{name} is not in the shared folder")
    return PreTrainedTokenizerFast.from_pretrained(folder)


MAKERS = {
    "bytes": lambda: byte_level(trained=False),
    "byte-bpe": lambda: byte_level(trained=True),
    "byte-fallback": byte_fallback,
    "word-piece": word_piece,
    "gpt2": lambda: from_shared("tokenizer-gpt2"),
    "stories": lambda: from_shared("stories260k"),
    "chars": lambda: from_shared("slm4096-chargpt"),
}


@cache
def tokenizer_of(name: str) -> PreTrainedTokenizerFast:
    return MAKERS[name]()


every_tokenizer = pytest.mark.parametrize("name", list(MAKERS))


def tokens_of(prompt, name="byte-bpe", **options) -> Tokens:
    tokenizer = tokenizer_of(name)
    return tokenize(prompt, tokenizer, **({"d_vocab": len(tokenizer), "n_ctx": None} | options))


def batch_of(lengths: list[int], pad: str) -> Tokens:
    """Row r holds the ids 100·r + 1, 100·r + 2, …"""
    return tokenize([[100 * r + 1 + k for k in range(n)] for r, n in enumerate(lengths)], None, d_vocab=10_000,
                    n_ctx=None, pad=pad)  # fmt: skip


def decoded(ids, tokenizer) -> str:
    return tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


# ── pieces ───────────────────────────────────────────────────────────────────────────────────────────


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


# ── the shape of a batch ─────────────────────────────────────────────────────────────────────────────

LENGTHS = st.lists(st.integers(1, 6), min_size=1, max_size=4)
PADS = st.sampled_from(["right", "left"])


@settings(deadline=None)
@given(lengths=LENGTHS, pad=PADS)
def test_the_batch_agrees_with_brute_force(lengths, pad):
    tokens, width = batch_of(lengths, pad), max(lengths)
    for r, n in enumerate(lengths):
        gap = width - n
        slots = list(range(n)) if pad == "right" else list(range(gap, width))
        assert tokens.mask[r].tolist() == [slot in slots for slot in range(width)]
        assert tokens.ids[r, slots].tolist() == [100 * r + 1 + k for k in range(n)]
        assert (int(tokens.first[r]), int(tokens.last[r]), int(tokens.lengths[r])) == (slots[0], slots[-1], n)
        positions = [0] * width
        for k, slot in enumerate(slots):
            positions[slot] = k
        assert tokens.position_ids[r].tolist() == positions
    assert tokens.padded == (len(set(lengths)) > 1)
    assert (tokens.batch, len(tokens), tokens.ids.shape[1]) == (len(lengths), len(lengths), width)
    assert tokens.ids.dtype == tokens.position_ids.dtype == tokens.lengths.dtype == torch.int64


@settings(deadline=None)
@given(lengths=LENGTHS, pad=PADS, data=st.data())
def test_slots_agree_with_brute_force(lengths, pad, data):
    tokens = batch_of(lengths, pad)
    row = data.draw(st.integers(0, len(lengths) - 1))
    positions = data.draw(st.lists(st.integers(-8, 8), max_size=4))
    real = [slot for slot in range(tokens.ids.shape[1]) if tokens.mask[row, slot]]
    try:
        expected = [real[position] for position in positions]
    except IndexError:
        with pytest.raises(TokenError, match="has no token"):
            tokens.slots(row, positions)
    else:
        assert tokens.slots(row, positions) == expected
        assert tokens.slots(row - len(lengths), np.array(positions, dtype=np.int64)) == expected


def test_slots_take_one_index_or_a_slice():
    tokens = batch_of([2, 4], "left")
    assert tokens.slots(0, -1) == [3]
    assert tokens.slots(0, slice(None)) == [2, 3]
    assert tokens.slots(1, slice(-3, 3)) == [1, 2]
    with pytest.raises(TokenError, match="beyond"):
        tokens.slots(0, slice(0, 3))
    with pytest.raises(TokenError, match="no row 2"):
        tokens.slots(2, 0)
    with pytest.raises(TypeError):
        tokens.slots(0, [0.5])


@settings(deadline=None)
@given(lengths=LENGTHS, pad=PADS, fill=st.integers(-5, 1 << 40))
def test_what_padding_held_never_matters(lengths, pad, fill):
    tokens = batch_of(lengths, pad)
    other = Tokens(tokens.ids.masked_fill(~tokens.mask, fill), tokens.mask, pad)
    assert torch.equal(other.ids, tokens.ids)
    assert other.pieces == tokens.pieces
    again = tokenize(other, None, d_vocab=400, n_ctx=6)
    assert torch.equal(again.ids, tokens.ids)


@settings(deadline=None)
@given(lengths=LENGTHS, pad=PADS)
def test_rows_and_the_other_side_hold_the_same_tokens(lengths, pad):
    tokens = batch_of(lengths, pad)
    for r, n in enumerate(lengths):
        single = tokens.row(r)
        assert single.ids.tolist() == [[100 * r + 1 + k for k in range(n)]]
        assert not single.padded
        assert single.pieces == [tokens.pieces[r]]
    side = {"right": "left", "left": "right"}[pad]
    turned = tokens.padded_on(side)
    expected = batch_of(lengths, side)
    assert torch.equal(turned.ids, expected.ids)
    assert torch.equal(turned.mask, expected.mask)
    assert turned.pad == side
    assert torch.equal(tokenize(tokens, None, d_vocab=400, n_ctx=6, pad=side).mask, expected.mask)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_to_moves_ids_and_mask(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    tokens = batch_of([1, 2], "left")
    for moved in (tokens.to(device), tokens_of(tokens, device=device), tokens.to(device).padded_on("left")):
        assert moved.ids.device.type == moved.mask.device.type == moved.position_ids.device.type == device
        assert moved.ids.tolist() == tokens.ids.tolist()
        assert moved.padded_on("right").ids.device.type == device
        assert moved.row(0).slots(0, -1) == [0]


@pytest.mark.parametrize(
    ("ids", "mask", "pad", "message"),
    [
        ([[1, 2]], [[True, False]], "left", "not padded on the left"),
        ([[1, 2, 3]], [[True, False, True]], "right", "not padded on the right"),
        ([[1, 2], [3, 4]], [[True, True], [False, False]], "right", "zero tokens"),
        ([[1, 2]], [[True]], "right", "no tokens"),
        ([1, 2], [True, True], "right", "no tokens"),
        ([[1.0]], [[True]], "right", "no tokens"),
        ([[1]], [[1]], "right", "no tokens"),
        ([[1]], [[True]], "top", "no padding side"),
    ],
)
def test_tokens_refuse_what_is_no_padded_batch(ids, mask, pad, message):
    with pytest.raises(TokenError, match=message):
        Tokens(torch.tensor(ids), torch.tensor(mask), pad)


# ── spans ────────────────────────────────────────────────────────────────────────────────────────────


def test_span_covers_a_text_found_once():
    tokens = tokens_of(["the cat sat", "on the mat"])
    for row, text in [(0, "cat"), (0, "the cat"), (1, "on"), (1, "mat")]:
        span = tokens.span(text, row)
        pieces = tokens.pieces[row]
        assert text in "".join(pieces[span])
        assert text not in "".join(pieces[span.start + 1 : span.stop])
        assert text not in "".join(pieces[span.start : span.stop - 1])


def test_span_takes_all_tokens_of_a_cut_character():
    tokens = tokens_of("a🎉b", "bytes", bos=False)
    assert tokens.span("🎉") == slice(1, 5)
    assert tokens.span("b") == slice(5, 6)
    assert tokens.span((0, 1)) == slice(0, 1)
    assert tokens.span((1, 3)) == slice(1, 6)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("aa", "more than once"),
        ("x", "does not hold"),
        ("", "does not hold"),
        ((0, 9), "no characters"),
        ((1, 1), "no"),
    ],
)
def test_span_never_guesses(wanted, message):
    with pytest.raises(TokenError, match=message):
        tokens_of("aaab", "bytes", bos=False).span(wanted)


# ── BOS ──────────────────────────────────────────────────────────────────────────────────────────────

BOS_CHAT = "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"


@every_tokenizer
@settings(deadline=None, max_examples=25)
@given(text=TEXTS.filter(lambda text: "<" not in text))
def test_bos_stands_once_however_the_prompt_comes(name, text):
    tokenizer = tokenizer_of(name)
    bos = tokenizer.bos_token_id
    if bos is None:
        with pytest.raises(TokenError, match="no BOS"):
            tokens_of(text, name, bos=True)
        return
    by_text = tokens_of(text, name, bos=True)
    ids = by_text.ids[0].tolist()
    assert ids == [bos, *tokenizer(text, add_special_tokens=False)["input_ids"]]
    chat = [{"role": "user", "content": text}]
    others = [
        tokens_of([text, text], name, bos=True),
        tokens_of(ids, name),
        tokens_of([ids], name),
        tokens_of(torch.tensor(ids), name),
        tokens_of(by_text, name, bos=False),
        tokens_of(chat, name, bos=True, chat_options={"chat_template": BOS_CHAT}),
        tokens_of([chat], name, chat_options={"chat_template": BOS_CHAT}),
    ]
    for tokens in others:
        assert tokens.ids[:, 0].eq(bos).all()
        assert (tokens.ids == bos).sum() == tokens.batch


@every_tokenizer
@settings(deadline=None, max_examples=25)
@given(text=TEXTS.filter(lambda text: "<" not in text))
def test_bos_none_is_what_the_tokenizer_does_and_false_adds_nothing(name, text):
    tokenizer = tokenizer_of(name)
    assert encode(text, tokenizer) == tokenizer(text)["input_ids"]
    assert encode(text, tokenizer, bos=False) == tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("name", ["bytes", "byte-bpe", "byte-fallback", "stories"])
@pytest.mark.parametrize("text", ["<s>hello", " <s>hello", "<s>", "<s><s>"])
@pytest.mark.parametrize("bos", [None, True])
def test_a_second_bos_is_refused(name, text, bos):
    with pytest.raises(TokenError, match=r"already begins with '<s>'.*bos=False"):
        tokens_of(text, name, bos=bos)
    tokens = tokens_of(text, name, bos=False)
    assert int((tokens.ids == tokenizer_of(name).bos_token_id).sum()) == text.count("<s>")


def test_a_tokenizer_that_adds_no_bos_takes_a_written_one():
    tokens = tokens_of("<|endoftext|>hello", "gpt2")
    assert tokens.ids[0].tolist()[0] == 50256
    with pytest.raises(TokenError, match="already begins"):
        tokens_of("<|endoftext|>hello", "gpt2", bos=True)
    assert (tokens_of("a<|endoftext|>b", "gpt2", bos=True).ids == 50256).sum() == 2  # a separator, not a second BOS


def test_an_added_eos_is_not_taken_for_a_bos():
    tokenizer = byte_level(trained=False)
    eos = tokenizer.convert_tokens_to_ids("</s>")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", eos)]
    )
    assert encode("<s>a", tokenizer) == [tokenizer.bos_token_id, tokenizer.convert_tokens_to_ids("a"), eos]
    assert encode("</s>", tokenizer) == [eos, eos]


@pytest.mark.parametrize("prompt", [[1, 2], [[1, 2], [3]], torch.tensor([1]), np.array([[1]]), batch_of([2], "right")])
def test_ids_are_taken_as_they_are(prompt):
    with pytest.raises(TokenError, match="taken as they are"):
        tokens_of(prompt, bos=True)
    assert tokens_of(prompt, bos=False).ids[0, 0] == 1


# ── what is a prompt ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "prompt",
    [
        [[3, 1, 2]],
        [3, 1, 2],
        (3, 1, 2),
        [np.int32(3), 1, 2],
        torch.tensor([3, 1, 2]),
        torch.tensor([[3, 1, 2]], dtype=torch.int32),
        torch.tensor([3, 1, 2], dtype=torch.uint8),
        np.array([[3, 1, 2]], dtype=np.uint64),
        np.array([3, 9, 1, 9, 2])[::2],
        [torch.tensor([3, 1, 2])],
        [np.array([3, 1, 2])],
    ],
)
def test_every_form_of_ids_gives_the_same_tokens(prompt):
    tokens = tokenize(prompt, None, d_vocab=4, n_ctx=3)
    assert tokens.ids.tolist() == [[3, 1, 2]]
    assert tokens.ids.dtype == torch.int64
    assert tokens.mask.all()
    assert tokens.turns is None


def test_a_row_of_texts_is_the_text_alone():
    texts = ["the cat", "", "hello world é"]
    for pad in ("right", "left"):
        tokens = tokens_of(texts, pad=pad)
        for r, text in enumerate(texts):
            assert torch.equal(tokens.row(r).ids, tokens_of(text).ids)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([], "list of nothing"),
        ([[]], "prompt 0 gives zero tokens"),
        ([[1], []], "prompt 1 gives zero tokens"),
        (torch.zeros(0, dtype=torch.int64), "no prompt"),
        (torch.zeros(2, 0, dtype=torch.int64), "no prompt"),
        (torch.tensor(3), "no prompt"),
        (torch.zeros(1, 1, 1, dtype=torch.int64), "no prompt"),
        (torch.tensor([1.0]), "float32 holds no token ids"),
        (torch.tensor([True]), "bool holds no token ids"),
        (np.array([1.5]), "float64 holds no token ids"),
        (np.array(["a"]), "holds no token ids"),
        ([1.0, 2.0], "list of float"),
        ([True], "list of bool"),
        ([1, "a"], "list of id and text"),
        ([[1], "a"], "list of row and text"),
        ([[1, 2.5]], "2.5 is no token id"),
        ([[1, True]], "True is no token id"),
        ([[1, None]], "None is no token id"),
        ([torch.tensor([[1]])], "no list of ids"),
        ([torch.tensor([1.0])], "holds no token ids"),
        ([[{"role": "user", "content": "a"}], [1]], "list of chat and ids"),
        (None, "NoneType is no prompt"),
        (7, "int is no prompt"),
        ({"role": "user"}, "dict is no prompt"),
        (b"abc", "bytes is no prompt"),
        ([400], r"id 400 \(row 0, token 0\) is outside of 0 … 399"),
        ([[1], [2, -1]], r"id -1 \(row 1, token 1\)"),
        ([1 << 80], "outside of 0 … 399"),
        (torch.tensor([[1, 400]]), r"id 400 \(row 0, token 1\)"),
        (np.array([2**64 - 1], dtype=np.uint64), r"id \d+ \(row 0, token 0\) is outside"),
        ([1] * 9, "row 0 has 9 tokens, the context holds 8"),
        ([[1], [1] * 9], "row 1 has 9 tokens"),
        (torch.ones(9, dtype=torch.int64), "row 0 has 9 tokens"),
        ("a" * 9, "needs a tokenizer"),
        ([{"role": "user", "content": "a"}], "needs a tokenizer"),
    ],
)
def test_what_is_no_prompt_is_refused(prompt, message):
    with pytest.raises(TokenError, match=message):
        tokenize(prompt, None, d_vocab=400, n_ctx=8)


def test_tokens_are_checked_against_the_model_too():
    tokens = batch_of([3, 9], "left")
    with pytest.raises(TokenError, match="row 1 has 9 tokens"):
        tokenize(tokens, None, d_vocab=400, n_ctx=8)
    with pytest.raises(TokenError, match=r"id 101 \(row 1, token 0\)"):
        tokenize(tokens, None, d_vocab=100, n_ctx=None)
    assert tokenize(tokens, tokenizer_of("bytes"), d_vocab=400, n_ctx=9).tokenizer is tokenizer_of("bytes")


def test_text_is_checked_against_the_model():
    with pytest.raises(TokenError, match="outside of 0 … 9"):
        tokens_of("hello", d_vocab=10)
    with pytest.raises(TokenError, match="zero tokens"):
        tokens_of(["a", ""], bos=False)
    length = int(tokens_of("hello world").lengths[0])
    assert tokens_of("hello world", n_ctx=length).ids.shape == (1, length)
    with pytest.raises(TokenError, match=f"has {length} tokens, the context holds {length - 1}"):
        tokens_of("hello world", n_ctx=length - 1)


def test_the_tokenizer_keeps_its_own_settings():
    tokenizer = byte_level(trained=True)
    tokenizer.padding_side, tokenizer.truncation_side = "left", "left"
    tokenizer.model_max_length = 2
    settings_before = tokenizer.backend_tokenizer.to_str()
    tokens = tokenize(["hello world", "a"], tokenizer, d_vocab=400, n_ctx=None)
    assert tokens.pieces[0][0] == "<s>"
    assert len(tokens.pieces[0]) > 2
    assert tokenizer.padding_side == "left"
    assert tokenizer.backend_tokenizer.to_str() == settings_before


# ── chats ────────────────────────────────────────────────────────────────────────────────────────────

LLAMA3 = (
    "{% for m in messages %}{% if loop.index0 == 0 %}{{ bos_token }}{% endif %}<|head|>{{ m.role }}<|/head|>\n\n"
    "{{ m.content TRIM }}<|eot|>{% endfor %}{% if add_generation_prompt %}<|head|>assistant<|/head|>\n\n{% endif %}"
)
TEMPLATES = {
    "llama3": LLAMA3.replace("TRIM", ""),
    "chatml": "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    "gemma": "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "{% for m in messages %}<turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content }}</turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<turn>model\n{% endif %}",
    "llama2": "{% if messages[0].role == 'system' %}{% set rest = messages[1:] %}{% set sys = '<<SYS>>\\n' + "
    "messages[0].content + '\\n<</SYS>>\\n\\n' %}{% else %}{% set rest = messages %}{% set sys = '' %}{% endif %}"
    "{% for m in rest %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate') }}"
    "{% endif %}{% if m.role == 'user' %}{{ bos_token }}[INST] {{ sys if loop.first else '' }}{{ m.content }} [/INST]"
    "{% else %} {{ m.content }} </s>{% endif %}{% endfor %}",
}


def parts_of(template: str, chat: list[dict], generation: bool) -> list[tuple[str, str, str]]:
    """Per message: text before the content, content, text after; written by hand, not by the template."""
    parts = []
    for k, m in enumerate(chat):
        role, bos = m["role"], "<s>" if k == 0 else ""
        if template == "llama3":
            parts.append((f"{bos}<|head|>{role}<|/head|>\n\n", m["content"], "<|eot|>"))
        elif template == "chatml":
            parts.append((f"<|im_start|>{role}\n", m["content"], "<|im_end|>\n"))
        elif template == "gemma":
            role = "model" if role == "assistant" else role
            parts.append((f"{bos}<turn>{role}\n", m["content"], "</turn>\n"))
        elif role == "system":
            parts.append(("<s>[INST] <<SYS>>\n", m["content"], "\n<</SYS>>\n\n"))
        elif role == "user":
            merged = k == 1 and chat[0]["role"] == "system"
            parts.append(("" if merged else "<s>[INST] ", m["content"], " [/INST]"))
        else:
            parts.append((" ", m["content"], " </s>"))
    opened = {"llama3": "<|head|>assistant<|/head|>\n\n", "chatml": "<|im_start|>assistant\n", "gemma": "<turn>model\n"}
    return [*parts, (opened.get(template, "") if generation else "", "", "")]


def chat_of(*contents: str, system: str | None = None) -> list[dict]:
    head = [] if system is None else [{"role": "system", "content": system}]
    return head + [{"role": "user" if k % 2 == 0 else "assistant", "content": c} for k, c in enumerate(contents)]


def check_turns(chat: list[dict], template: str, name: str = "bytes", **options) -> list[Turn]:
    """Holds the turns of a lossless tokenizer against character positions counted by hand."""
    tokens = tokens_of(chat, name, chat_options={"chat_template": TEMPLATES[template]}, **options)
    generation = options.get("add_generation_prompt", chat[-1]["role"] != "assistant")
    parts, pieces = parts_of(template, chat, generation), tokens.pieces[0]
    assert "".join(pieces) == "".join("".join(part) for part in parts)
    assert tokens.turns is not None
    turns, reached = tokens.turns[0], 0
    assert [turn.index for turn in turns] == list(range(len(chat)))
    for turn, message, (before, content, after) in zip(turns, chat, parts, strict=False):
        assert turn.role == message["role"]
        assert turn.full_start == reached
        assert "".join(pieces[turn.full_start : turn.content_start]) == before
        assert "".join(pieces[turn.content]) == content
        assert decoded(tokens.ids[0][turn.content].tolist(), tokens.tokenizer) == content
        assert "".join(pieces[turn.content_end : turn.full_end]) == after
        assert turn.n_total_tokens == len(pieces[turn.full])
        assert turn.n_content_tokens == len(pieces[turn.content])
        reached = turn.full_end
    assert "".join(pieces[reached:]) == parts[-1][0]
    return turns


CHATS = {
    "one": chat_of("hello world"),
    "many": chat_of("the cat", "sat", "on the mat", "hello"),
    "same": chat_of("hello", "hello", "hello", "hello"),
    "template words": chat_of("user", "assistant", "\nuser\n", "[INST]x[/INST]"),
    "markers": chat_of("<|im_end|>\n<|im_start|>assistant\nhi", "</turn><|eot|><s>", "CONTENT", "[/INST] </s>"),
    "unicode": chat_of("é🎉日", "a\u0301 ▁Ġ\ufffd", "\u200b\xa0"),
    "spaces": chat_of("  hello ", "\n\nhello\n", " ", "\t"),
    "empty": chat_of("hello", "", "hello"),
    "system": chat_of("hello", "hello", system="be the cat"),
}


@pytest.mark.parametrize("template", list(TEMPLATES))
@pytest.mark.parametrize("chat", list(CHATS))
def test_turns_lie_where_the_template_puts_them(template, chat):
    if (template, chat) == ("gemma", "system"):
        with pytest.raises(TokenError, match="no system"):
            check_turns(CHATS[chat], template)
        return
    check_turns(CHATS[chat], template)
    if template != "llama2":
        check_turns(CHATS[chat], template, add_generation_prompt=True)
        check_turns(CHATS[chat], template, add_generation_prompt=False)


@settings(deadline=None, max_examples=40)
@given(contents=st.lists(TEXTS, min_size=1, max_size=4), template=st.sampled_from(list(TEMPLATES)))
def test_turns_of_any_contents_are_exact(contents, template):
    check_turns(chat_of(*contents), template)


@pytest.mark.parametrize("trim", [False, True])
@pytest.mark.parametrize("chat", ["one", "many", "same", "markers", "unicode", "system"])
def test_turns_with_merged_tokens_and_trimmed_offsets(trim, chat):
    tokenizer = byte_level(trained=True, trim=trim)
    tokens = tokenize(
        CHATS[chat], tokenizer, d_vocab=400, n_ctx=None, chat_options={"chat_template": TEMPLATES["llama3"]}
    )
    assert tokens.turns is not None
    assert ["".join(tokens.pieces[0][turn.content]) for turn in tokens.turns[0]] == [m["content"] for m in CHATS[chat]]


@pytest.mark.parametrize("name", ["byte-fallback", "stories"])
@pytest.mark.parametrize("contents", [("hello", "the sun", "hello"), ("é🎉 日",), ("he", "he", "he"), ("[INST]",)])
def test_turns_where_decoding_is_not_lossless(name, contents):
    chat = chat_of(*contents)
    tokens = tokens_of(chat, name, chat_options={"chat_template": TEMPLATES["llama2"]})
    tokenizer = tokenizer_of(name)
    assert tokens.turns is not None
    for turn, message in zip(tokens.turns[0], chat, strict=True):
        assert decoded(tokens.ids[0][turn.content].tolist(), tokenizer) == message["content"]
        after = "".join(tokens.pieces[0][turn.content_end : turn.full_end])
        assert after == (" [/INST]" if message["role"] == "user" else " </s>")


def test_a_content_that_begins_with_a_space_is_kept_whole():
    tokens = tokens_of(chat_of(" he"), "byte-fallback", chat_options={"chat_template": TEMPLATES["llama2"]})
    assert tokens.turns is not None
    content = tokens.turns[0][0].content
    assert tokens.pieces[0][content] == [" he"]  # alone, these ids would decode without the space


def test_a_user_message_can_be_continued_too():
    options = {"chat_template": TEMPLATES["chatml"], "continue_final_message": True}
    assert tokens_of(chat_of("hel"), "bytes", chat_options=options).pieces[0][-4:] == ["\n", "h", "e", "l"]


def test_a_token_across_the_border_of_a_content_is_refused():
    chat = chat_of("\n")
    tokens = tokens_of(chat, chat_options={"chat_template": "{{ messages[0].role }}\n{{ messages[0].content }}"})
    assert "\n\n" in tokens.pieces[0]  # one token holds the template's newline and the content's
    with pytest.raises(TokenError, match=r"the tokens of turn 0 \(user\) read '\\n\\n'"):
        tokens.turns  # noqa: B018
    ids = tokens.ids[0].tolist()
    assert decoded(ids, tokens.tokenizer) == "user\n\n"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (LLAMA3.replace("TRIM", "| trim"), "changes the content of turn 0"),
        ("{% for m in messages %}{{ m.content | upper }}{% endfor %}", "changes the content of turn 0"),
        ("{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}", "turn 0 .* 2 times"),
        ("{{ messages[-1].content }}", "turn 0 .* 0 times"),
        ("{% for m in messages[::-1] %}{{ m.content }}{% endfor %}", "reorders"),
        (
            "{% for m in messages %}{{ '!' if 'cat' in m.content else '?' }}{{ m.content }}{% endfor %}",
            "changes the content of turn 0",
        ),
    ],
)
def test_turns_that_cannot_be_proved_are_refused_but_the_ids_stand(template, message):
    tokens = tokens_of(chat_of(" the cat ", " sat "), chat_options={"chat_template": template})
    assert decoded(tokens.ids[0].tolist(), tokens.tokenizer).strip()
    with pytest.raises(TokenError, match=message):
        tokens.turns  # noqa: B018


def test_a_trimming_template_is_fine_where_there_is_nothing_to_trim():
    options = {"chat_template": LLAMA3.replace("TRIM", "| trim")}
    tokens = tokens_of(chat_of("the cat", "sat"), "bytes", chat_options=options)
    assert tokens.turns is not None
    assert ["".join(tokens.pieces[0][turn.content]) for turn in tokens.turns[0]] == ["the cat", "sat"]


def test_batches_of_chats_keep_their_turns_per_row():
    chats = [CHATS["one"], CHATS["many"]]
    options = {"chat_template": TEMPLATES["chatml"]}
    tokens = tokens_of(chats, "bytes", pad="left", chat_options=options)
    assert tokens.turns is not None
    assert tokens.padded_on("right").turns == tokens.turns
    for r, chat in enumerate(chats):
        alone = tokens_of(chat, "bytes", chat_options=options)
        assert alone.turns == tokens.row(r).turns == [tokens.turns[r]]
        slots = tokens.slots(r, tokens.turns[r][0].content)
        assert decoded(tokens.ids[r, slots].tolist(), tokens.tokenizer) == chat[0]["content"]


def test_a_chat_goes_through_the_tokenizers_own_template():
    tokenizer = byte_level(trained=False)
    chat = chat_of("hello", "wor")
    with pytest.raises(TokenError, match="no chat template"):
        tokenize(chat, tokenizer, d_vocab=400, n_ctx=None)
    tokenizer.chat_template = TEMPLATES["chatml"]
    tokens = tokenize(chat, tokenizer, d_vocab=400, n_ctx=None)
    expected = tokenizer.apply_chat_template(chat, tokenize=True, return_dict=False)
    assert tokens.ids[0].tolist() == expected
    with pytest.raises(TokenError, match="does not begin with BOS"):
        tokenize(chat, tokenizer, d_vocab=400, n_ctx=None, bos=True)
    continued = tokenize(chat, tokenizer, d_vocab=400, n_ctx=None, chat_options={"continue_final_message": True})
    assert continued.pieces[0][-3:] == ["w", "o", "r"]
    assert continued.turns is not None
    assert "".join(continued.pieces[0][continued.turns[0][0].full]) == "<|im_start|>user\nhello<|im_end|>\n"
    last = continued.turns[0][-1]
    assert last.content_end == last.full_end == len(continued.pieces[0])


@pytest.mark.parametrize(
    ("chat", "options", "message"),
    [
        ([{"content": "a"}], {}, "is no message"),
        ([[{"role": "user", "content": "a"}, 3]], {}, "is no message"),
        ([{"role": 1, "content": "a"}], {}, "is no message"),
        (chat_of("a"), {"tokenize": True}, "cannot set tokenize"),
        (chat_of("a"), {"add_generation_prompt": True}, "cannot set add_generation_prompt"),
        (chat_of("a"), {"chat_template": "{{ raise_exception('only whispers') }}"}, "only whispers"),
        (chat_of("a"), {"chat_template": "{% if"}, "refused this chat"),
        (chat_of("a"), {"chat_template": "{# silent #}"}, "zero tokens"),
    ],
)
def test_chats_that_cannot_be_rendered_are_refused(chat, options, message):
    with pytest.raises(TokenError, match=message):
        tokens_of(chat, "bytes", chat_options={"chat_template": TEMPLATES["chatml"], **options})


@pytest.mark.parametrize("options", [{"add_generation_prompt": False}, {"chat_options": {"tools": []}}])
@pytest.mark.parametrize("prompt", ["a", [1], torch.tensor([1])])
def test_chat_options_need_a_chat(prompt, options):
    with pytest.raises(TokenError, match="no chat"):
        tokens_of(prompt, **options)


def test_a_content_that_is_no_text_has_no_turn():
    chat = [{"role": "user", "content": [{"type": "text", "text": "a"}]}]
    tokens = tokens_of(chat, "bytes", chat_options={"chat_template": "{{ messages[0].content[0].text }}"})
    assert tokens.pieces == [["a"]]
    with pytest.raises(TokenError, match="is no text"):
        tokens.turns  # noqa: B018


def test_later_changes_to_the_messages_do_not_reach_the_tokens():
    chat = chat_of("hello")
    tokens = tokens_of(chat, "bytes", chat_options={"chat_template": TEMPLATES["chatml"]})
    chat[0]["content"] = "bye"
    assert tokens.turns is not None
    assert "".join(tokens.pieces[0][tokens.turns[0][0].content]) == "hello"


def test_slow_tokenizers_without_offsets_refuse_turns_they_cannot_prove(monkeypatch):
    monkeypatch.setattr(PreTrainedTokenizerFast, "is_fast", False)
    options = {"chat_template": TEMPLATES["llama2"]}
    with pytest.raises(TokenError, match="fast version"):
        tokens_of(chat_of("he"), "byte-fallback", chat_options=options).turns  # noqa: B018
    tokens = tokens_of(chat_of("he"), "bytes", chat_options=options)  # lossless, so characters can be counted
    assert tokens.turns is not None
    assert "".join(tokens.pieces[0][tokens.turns[0][0].content]) == "he"


# ── single ids ───────────────────────────────────────────────────────────────────────────────────────


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


def test_single_token_with_a_space_put_before_it():
    tokenizer = tokenizer_of("byte-fallback")
    assert single_token("he", tokenizer) == tokenizer.convert_tokens_to_ids("▁he")
    with pytest.raises(TokenError, match="'he' is one token"):
        single_token(" he", tokenizer)


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
