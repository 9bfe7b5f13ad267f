"""Whatever form a prompt has, its ids are the same; BOS stands once."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from tokenizers import processors

from fluoroscope.errors import TokenError
from fluoroscope.prompts import encode, lead
from fluoroscope.tokens import tokenize
from tokenizer_kinds import TEXTS, batch_of, byte_level, every_tokenizer, tokenizer_of, tokens_of

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
        ([[]], "the prompt gives zero tokens"),
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
        ([1] * 9, "the prompt has 9 tokens, the context holds 8"),
        ([[1], [1] * 9], "row 1 has 9 tokens"),
        (torch.ones(9, dtype=torch.int64), "the prompt has 9 tokens"),
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


@pytest.mark.parametrize("name", ["bytes", "byte-fallback", "word-piece", "stories", "gpt2"])
def test_a_lead_is_what_stands_before_every_text(name):
    tokenizer = tokenizer_of(name)
    for text in ("a", "ab a", "b"):
        assert encode(text, tokenizer) == [*lead(tokenizer), *encode(text, tokenizer, bos=False)]
    assert lead(tokenizer) == ([] if name == "gpt2" else [tokenizer.bos_token_id])
    assert lead(None) == []
