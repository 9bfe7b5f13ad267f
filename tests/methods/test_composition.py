"""Scores against explicit d_model x d_model products, chance against random rotations, circuits that are known."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from architectures import common
from fluoroscope.loading import load
from fluoroscope.methods import composition, head_circuits

KINDS = composition.KINDS


def circuit(model, layer, head, kind):
    """W_V W_O, W_Q W_K^T or its transpose, as a whole matrix."""
    if kind == "v":
        return head_circuits.reads(model, layer, "V")[head] @ head_circuits.writes(model, layer)[head]
    q, k = (head_circuits.reads(model, layer, part)[head] for part in "QK")
    return q @ k.T if kind == "q" else k @ q.T


@pytest.mark.parametrize("case", ["gpt2", "llama", "qwen3", "gemma2", "olmo2", "cohere", "gpt_neox", "falcon-7b"])
@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_the_whole_matrices(case, kind):
    model = common.model(case)
    found = composition.scores(composition.sender(model, 0), composition.receiver(model, 2, kind))
    for earlier in range(4):
        first = circuit(model, 0, earlier, "v")
        for later in range(4):
            second = circuit(model, 2, later, kind)
            expected = (first @ second).norm() / (first.norm() * second.norm())
            assert float(found[earlier, later]) == pytest.approx(float(expected), rel=1e-10)


def test_folding_is_by_hand_what_it_should_be_in_a_gpt2():
    """From Hugging Face's own tensors: centred gain of ln_1, fused c_attn, c_proj, the mean of what is written off."""
    hf, d, width = common.plain("gpt2"), 32, 8
    centre = torch.eye(d, dtype=torch.float64) - 1 / d

    def parts(layer, head):
        block = hf.transformer.h[layer]
        fused = (centre @ torch.diag(block.ln_1.weight.double()) @ block.attn.c_attn.weight.double()).detach()
        q, k, v = (fused[:, part * d + head * width :][:, :width] for part in range(3))
        return q, k, v, (block.attn.c_proj.weight.double()[head * width :][:width] @ centre).detach()

    (_, _, v, o), (q, k, _, _) = parts(0, 1), parts(1, 3)
    expected = (v @ o @ k @ q.T).norm() / ((v @ o).norm() * (k @ q.T).norm())
    model = common.model("gpt2")
    found = composition.scores(composition.sender(model, 0), composition.receiver(model, 1, "k"))
    assert float(found[1, 3]) == pytest.approx(float(expected), rel=1e-10)


@pytest.mark.parametrize("case", ["llama", "gpt2"])
def test_chance_is_what_random_rotations_score(case):
    """Of two circuits with spectra of their own, turned within the directions that are read."""
    model = common.model(case)
    first, second = composition.sender(model, 0)[0], composition.receiver(model, 1, "k")[1]
    generator = torch.Generator().manual_seed(0)
    basis = torch.eye(32, dtype=torch.float64)
    if case == "gpt2":  # all but the mean
        basis = torch.linalg.svd(torch.eye(32, dtype=torch.float64) - 1 / 32).U[:, :31]
    size = basis.shape[1]
    squares = []
    for _ in range(600):
        gauss = torch.randn(size, size, generator=generator, dtype=torch.float64)
        q, r = torch.linalg.qr(gauss)
        turned = basis @ (q * r.diagonal().sign()) @ basis.T
        squares.append(float((first @ turned @ second).square().sum() / (first.norm() * second.norm()) ** 2))
    mean = sum(squares) / len(squares)
    error = torch.tensor(squares).std().item() / len(squares) ** 0.5
    assert composition.chance(model) ** 2 == pytest.approx(mean, abs=4 * error)
    assert error < mean / 20
    room = [float(composition.leeway(each[None], composition.directions(model))) for each in (first, second)]
    assert composition.directions(model) == size
    assert room[0] * room[1] == pytest.approx(torch.tensor(squares).std().item(), rel=0.12)


def test_leeway_by_hand():
    """One direction against one: a squared coordinate of a unit vector, whose variance is 2 (n - 1) / (n^2 (n + 2)).
    Circuits that use all directions alike score the same however they are turned."""
    one = torch.zeros(1, 2, 9, dtype=torch.float64)
    one[0, 1, 4] = -3
    found = float(composition.leeway(one, 9)) ** 2
    assert found == pytest.approx((2 * 8 / (81 * 11)) ** 0.5)
    assert float(composition.leeway(one.mT, 9)) ** 2 == pytest.approx(found)
    assert composition.leeway(2 * torch.eye(9, dtype=torch.float64)[None], 9).tolist() == [0]
    assert composition.leeway(torch.zeros(1, 2, 9), 9).isnan().all()


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_an_induction_pair_composes_through_its_keys_alone(rank):
    """Head 0 moves a token's first coordinates to others, which the keys of the later head compare with its queries:
    rank equal singular values give 1 / sqrt(rank), and 1 for a single direction."""
    config = LlamaConfig(
        hidden_size=16, intermediate_size=4, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
        head_dim=4, vocab_size=8, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    hf = LlamaForCausalLM(config).eval()
    one = torch.eye(rank)
    with torch.no_grad():
        before, later = (block.self_attn for block in hf.model.layers)
        for attention in (before, later):
            for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
                getattr(attention, name).weight.zero_()
        before.v_proj.weight[:rank, :rank] = one
        before.o_proj.weight[8 : 8 + rank, :rank] = one
        later.k_proj.weight[:rank, 8 : 8 + rank] = one
        later.q_proj.weight[:rank, :rank] = one
        later.v_proj.weight[:rank, :rank] = one
        later.o_proj.weight[:rank, :rank] = one
    model = load(hf)
    senders = composition.sender(model, 0)
    found = {kind: composition.scores(senders, composition.receiver(model, 1, kind)) for kind in KINDS}
    assert float(found["k"][0, 0]) == pytest.approx(rank**-0.5)
    assert float(found["q"][0, 0]) == float(found["v"][0, 0]) == 0
    assert found["k"][0, 1].isnan()  # a head of zeros
    assert found["v"][1, 0].isnan()
    assert composition.chance(model) == 0.25
