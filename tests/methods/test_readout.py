import math

import pytest
import torch

from fluoroscope.errors import ArgumentError, TokenError, UnavailableError
from fluoroscope.methods import readout
from fluoroscope.pieces import label, single_token
from fluoroscope.tokens import tokenize
from tokenizer_kinds import tokenizer_of


def tokens(*rows):
    return tokenize([*rows], None, d_vocab=10, n_ctx=None)


def test_against_torch_distributions():
    logits = torch.randn(5, 30, dtype=torch.float64)
    other = torch.randn(5, 30, dtype=torch.float64)
    log_p, log_q = readout.log_probs(logits), readout.log_probs(other)
    p, q = torch.distributions.Categorical(logits=logits), torch.distributions.Categorical(logits=other)
    torch.testing.assert_close(readout.entropy(log_p), p.entropy())
    torch.testing.assert_close(readout.kl(log_p, log_q), torch.distributions.kl_divergence(p, q))


def test_half_precision_is_read_in_float32():
    logits = torch.randn(4, 50).bfloat16()
    torch.testing.assert_close(readout.log_probs(logits), logits.float().log_softmax(-1), rtol=0, atol=0)


def test_impossible_tokens_spoil_nothing():
    log_p = readout.log_probs(torch.tensor([0.0, 0.0, -math.inf]))
    assert readout.entropy(log_p).item() == pytest.approx(math.log(2))
    assert readout.kl(log_p, log_p).item() == 0
    assert readout.kl(readout.log_probs(torch.zeros(3)), log_p).item() == math.inf


def test_nan_gives_no_probabilities():
    with pytest.raises(UnavailableError, match="NaN"):
        readout.log_probs(torch.tensor([1.0, math.nan]))


def test_rank_counts_the_likelier_tokens():
    log_p = readout.log_probs(torch.tensor([[3.0, 1.0, 2.0, 2.0], [0.0, 5.0, 1.0, 2.0]]))
    assert readout.rank(log_p, torch.tensor([1, 1])).tolist() == [4, 1]
    assert readout.rank(log_p, torch.tensor([3, 0])).tolist() == [2, 4]


def test_only_one_prompt_and_only_its_own_positions():
    assert readout.only_slot(tokens([1, 2, 3]), -1) == 2
    assert readout.only_slot(tokens([1, 2, 3]), 0) == 0
    with pytest.raises(TokenError, match="no token 3"):
        readout.only_slot(tokens([1, 2, 3]), 3)
    with pytest.raises(ArgumentError, match="2 prompts were given"):
        readout.only_slot(tokens([1, 2], [3]), 0)


def test_where_two_prompts_part():
    assert readout.parting(tokens([1, 2, 3]), tokens([1, 4, 3])) == 1
    assert readout.parting(tokens([1, 2, 3]), tokens([0, 2, 3])) == 0
    with pytest.raises(ArgumentError, match="3 and 2 tokens, and part at token 1"):
        readout.parting(tokens([1, 2, 3]), tokens([1, 3]))
    with pytest.raises(ArgumentError, match="2 and 3 tokens, and part at token 2"):
        readout.parting(tokens([1, 2]), tokens([1, 2, 3]))
    with pytest.raises(ArgumentError, match="the same tokens"):
        readout.parting(tokens([1, 2]), tokens([1, 2]))


def test_a_token_is_named_by_its_text_or_by_its_id(tiny_model):
    assert readout.token_id(tiny_model, "b") == readout.token_id(tiny_model, "#1") == 1
    assert readout.token_id(tiny_model, f"#{tiny_model.d_vocab - 1}") == tiny_model.d_vocab - 1
    with pytest.raises(TokenError, match=rf"no token #{tiny_model.d_vocab}\. Ids of this model run from #0"):
        readout.token_id(tiny_model, f"#{tiny_model.d_vocab}")
    with pytest.raises(TokenError, match="'ab' is 2 tokens"):
        readout.token_id(tiny_model, "ab")


def named(model, text):
    return [model.token_label(token) for token in readout.token_ids(model, text)]


def test_a_set_has_bars_between_its_tokens(tiny_model):
    assert named(tiny_model, "Q") == ["Q"]
    assert named(tiny_model, "Q|a| ") == ["Q", "a", " "]
    assert readout.token_ids(tiny_model, "#1|a") == (1, 0)
    assert readout.token_ids(tiny_model, f"#{tiny_model.d_vocab - 1}|#0") == (tiny_model.d_vocab - 1, 0)


def test_the_bar_is_a_token_too(tiny_model):
    assert named(tiny_model, "|") == ["|"]
    assert named(tiny_model, "a||") == ["a", "|"]
    assert named(tiny_model, "||a") == ["|", "a"]
    assert named(tiny_model, "a|||b") == ["a", "|", "b"]
    assert named(tiny_model, f"a|#{tiny_model.single_token('|')}") == ["a", "|"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "'' is 0 tokens"),
        ("a|", r"'a\|' holds an empty token\. Put one \| between two tokens"),
        ("|a", "holds an empty token"),
        ("a||b", "holds an empty token"),
        ("a|bc", "'bc' is 2 tokens: 'b', 'c'"),
        ("a|b|a", "names token 0 twice: 'a' and 'a'"),
        ("b|#1", "names token 1 twice: 'b' and '#1'"),
        ("a|#99999", "there is no token #99999"),
    ],
)
def test_a_set_that_is_none_is_refused(tiny_model, text, says):
    with pytest.raises(TokenError, match=says):
        readout.token_ids(tiny_model, text)


class Reader:
    """As much of a model as names need."""

    d_vocab = 400

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def single_token(self, text):
        return single_token(text, self.tokenizer)

    def token_label(self, token):
        return label(token, self.tokenizer)


@pytest.mark.parametrize("name", ["bytes", "byte-bpe", "byte-fallback"])
def test_tokens_that_hold_bars_are_named_like_any_other(name):
    model = Reader(tokenizer_of(name))
    model.d_vocab = len(model.tokenizer)
    assert named(model, "<|im_end|>") == ["<|im_end|>"]
    assert named(model, "<|im_end|>|<|head|>|a") == ["<|im_end|>", "<|head|>", "a"]
    assert named(model, "a|<|/head|>") == ["a", "<|/head|>"]


def test_gpt2s_tokens_with_bars():
    model = Reader(tokenizer_of("gpt2"))
    model.d_vocab = len(model.tokenizer)
    assert named(model, "<|endoftext|>| Mary|||") == ["<|endoftext|>", " Mary", "||"]
    assert named(model, " Mary| Anna") == [" Mary", " Anna"]


def test_without_a_tokenizer_there_are_ids():
    assert readout.token_ids(Reader(None), "#3|#5") == (3, 5)
    with pytest.raises(TokenError, match="needs a tokenizer"):
        readout.token_ids(Reader(None), "#3|a")
