import math

import pytest
import torch

from fluoroscope.errors import ArgumentError, TokenError, UnavailableError
from fluoroscope.methods import readout
from fluoroscope.tokens import tokenize


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
