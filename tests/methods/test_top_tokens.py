import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from fluoroscope.loading import load
from fluoroscope.methods import top_tokens as module
from fluoroscope.methods.top_tokens import top_tokens

VOCABULARY = 9001


@pytest.fixture
def model(monkeypatch):
    """A small stream over a vocabulary that is worth the detour, on any processor."""
    monkeypatch.setattr(module, "_fast", lambda: True)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCABULARY, n_embd=48, n_layer=1, n_head=2, n_positions=16, tie_word_embeddings=False
    )
    return load(GPT2LMHeadModel(config).eval())


def check(model, streams, k):
    found = top_tokens(model, streams, k)
    values, ids = model.unembed(streams).detach().topk(k)
    assert torch.equal(found.ids, ids)
    torch.testing.assert_close(found.logits, values, atol=1e-5, rtol=1e-5)


def counted(monkeypatch):
    """How many rows are computed in full."""
    rows, whole = [], module._whole
    monkeypatch.setattr(
        module, "_whole", lambda model, streams, k: rows.append(len(streams)) or whole(model, streams, k)
    )
    return rows


@pytest.mark.parametrize("k", [1, 5])
def test_it_finds_what_all_logits_would_show(model, monkeypatch, k):
    rows = counted(monkeypatch)
    check(model, torch.randn(60, 48), k)
    assert sum(rows) < 30


def test_where_nothing_is_proved_rows_are_computed_in_full(model, monkeypatch):
    with torch.no_grad():
        weight = model.hf.lm_head.weight
        weight[:500] = weight[0] + 1e-4 * torch.randn(500, 48)
    rows = counted(monkeypatch)
    towards = weight[0].detach() * 40 + torch.randn(8, 48) * 0.01
    check(model, torch.cat([towards, torch.randn(8, 48)]), 5)
    assert sum(rows) >= 8


def test_the_bound_holds_for_every_token(model):
    normed = torch.randn(40, 48) * torch.logspace(-3, 3, 40)[:, None]
    table = module._rounded(model.hf.lm_head)
    rows = torch.zeros(40, table.shape[1], dtype=torch.bfloat16)
    rows[:, :48] = normed
    rows[:, 48] = normed.norm(dim=-1) * module._BOUND
    exact = normed.double() @ model.hf.lm_head.weight.detach().double().T
    assert bool(((rows @ table.T).double() >= exact).all())


def test_a_changed_weight_is_rounded_anew(model):
    streams = torch.randn(5, 48)
    top_tokens(model, streams, 3)
    with torch.no_grad():
        model.hf.lm_head.weight.normal_()
    check(model, streams, 3)


@pytest.mark.parametrize("case", ["bias", "double", "wide"])
def test_what_the_detour_cannot_do_is_computed_in_full(model, case):
    streams = torch.randn(5, 48)
    if case == "bias":
        model.hf.lm_head.bias = torch.nn.Parameter(torch.randn(VOCABULARY))
    if case == "double":
        model.hf.double()
        streams = streams.double()
    check(model, streams, 40 if case == "wide" else 3)


def test_a_cap_and_a_scale_are_the_models_own(model):
    from dataclasses import replace

    model.architecture = replace(model.architecture, softcap=0.5, logit_multiplier=0.25)
    check(model, torch.randn(20, 48), 5)
