"""Tokenizers of every kind, made by hand or from the shared folder, and short ways to tokens."""

from functools import cache

import pytest
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from fluoroscope.tokens import Tokens, tokenize
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
