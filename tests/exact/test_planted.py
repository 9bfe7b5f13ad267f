"""Models made so that what a lens or a head must say is known beforehand."""

import pytest
import torch
from torch.nn.functional import layer_norm
from transformers import GPT2Config, GPT2LMHeadModel

import linear
from fluoroscope.analyses.copying_heads import copying_heads
from fluoroscope.analyses.head_circuits import head_circuits
from fluoroscope.analyses.logit_attribution import logit_attribution
from fluoroscope.analyses.logit_lens import logit_lens
from fluoroscope.analyses.tuned_lens import tuned_lens
from fluoroscope.loading import load
from fluoroscope.methods.translators import Translators, depth_sites, judge, provenance
from fluoroscope.methods.tuned_lens import CLIP, _gradients

V, PLACES = 12, 16

# ── lenses ───────────────────────────────────────────────────────────────────────────────────────────


def planted(target: int, strength: float):
    """A GPT-2 whose block 0 adds nothing, whose block 1 adds the direction of a token, and whose others add nothing."""
    torch.manual_seed(0)
    shape = {"n_embd": 24, "n_layer": 4, "n_head": 2, "n_positions": 32, "vocab_size": 40}
    hf = GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=0, eos_token_id=0)).double().eval()
    with torch.no_grad():
        for parameter in hf.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
        for block in hf.transformer.h:
            for projection in (block.attn.c_proj, block.mlp.c_proj):
                projection.weight.zero_()
                projection.bias.zero_()
        hf.transformer.h[1].mlp.c_proj.bias.copy_(strength * hf.lm_head.weight[target])
    return load(hf)


def test_a_planted_direction_is_read_from_its_block_on_with_the_probability_that_follows_by_hand():
    model, target, ids = planted(7, 4.0), 7, [3, 9, 30, 3]
    result = logit_lens(model, [ids], target=f"#{target}")
    body, head = model.hf.transformer, model.hf.lm_head.weight.detach()
    before = (body.wte.weight[ids] + body.wpe.weight[: len(ids)]).detach()
    after = before + 4.0 * head[target]
    expected = [
        (layer_norm(stream, (24,), body.ln_f.weight, body.ln_f.bias, body.ln_f.eps) @ head.T).softmax(-1)[:, target]
        for stream in (before, before, after, after, after)
    ]
    for depth, p in zip(result.depths, expected, strict=True):
        assert [cell.target_probability for cell in depth.cells] == pytest.approx(p.tolist(), abs=1e-12)
    assert {place.settled for place in result.positions} == {"resid_post.1"}
    assert all(cell.kl < 1e-12 for depth in result.depths[2:] for cell in depth.cells), "nothing follows"
    assert all(cell.kl > 0.1 for depth in result.depths[:2] for cell in depth.cells)


def test_a_planted_direction_is_all_that_raises_the_logit_of_its_token():
    model = planted(7, 4.0)
    [first, *others] = logit_attribution(model, [[3, 9, 30, 3]], target="#7", grain="layer", top_k=99).top()
    assert (first.name, first.value > 1) == ("mlp_out.1", True)
    assert all(part.value == 0 for part in others if part.name.startswith(("attn_out", "mlp_out")))


@pytest.fixture(scope="module")
def affine():
    """Blocks that are affine maps of one token's stream, and what these maps are."""
    model = linear.model()
    constants = []
    for depth in range(model.n_layers):
        stream = torch.zeros(linear.SIZE, dtype=torch.float64)
        for block in list(model.hf.transformer.h)[depth:]:
            stream = stream + block.attn.c_proj.bias
            stream = stream + block.mlp(stream)
        constants.append(stream.detach())
    meta = provenance(model, "by hand", [], 0) | {"kind": "tuned"}
    return model, Translators(torch.stack(linear.jacobians(model)), torch.stack(constants), meta)


def test_the_affine_maps_of_the_blocks_are_a_tuned_lens_that_misses_nothing(affine, tmp_path):
    model, lens = affine
    for item in judge(model, lens, linear.rows()):
        assert item.plain > 0.05
        assert item.fitted < 1e-12
        assert item.fitted_agrees == 1
    lens.save(tmp_path / "lens.safetensors")
    result = tuned_lens(model, linear.rows()[:1], lens=str(tmp_path / "lens.safetensors"))
    assert {place.settled for place in result.positions} == {"resid_pre.0"}
    for depth in result.depths:
        for cell, end in zip(depth.cells, result.depths[-1].cells, strict=True):
            assert cell.kl < 1e-12
            assert cell.target_probability == pytest.approx(end.target_probability, abs=1e-9)


def test_there_the_fit_of_a_tuned_lens_stands_still(affine):
    model, lens = affine
    lens = Translators(lens.weight.float(), lens.bias.float(), lens.meta)  # as it is fitted
    gradients, losses = _gradients(model, lens, depth_sites(model.n_layers), linear.rows(), CLIP)
    assert float(losses.max()) < 1e-6
    assert all(float(part.abs().max()) < 1e-6 for part in gradients)


# ── a head that copies, and one that does the opposite ───────────────────────────────────────────────


@pytest.fixture(scope="module")
def copier():
    """L0H0 looks at place 1 and writes the token that stands there, L0H1 looks at place 3 and takes it away.

    L0H2 looks at place 1 and writes nothing, L0H3 looks everywhere and writes nothing.
    """
    shape = {"n_embd": 64, "n_layer": 1, "n_head": 4, "n_positions": PLACES, "vocab_size": V, "n_inner": 4}
    hf = GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=0, eos_token_id=0)).eval()
    attention, size = hf.transformer.h[0].attn, 16
    with torch.no_grad():
        for name, parameter in hf.named_parameters():
            parameter.fill_(1.0 if "ln_" in name and name.endswith("weight") else 0.0)
        hf.transformer.wte.weight[:, :V] = torch.eye(V) * 4
        hf.transformer.wpe.weight[:, V : V + PLACES] = torch.eye(PLACES) * 4
        for head, place, sign in ((0, 1, 1.0), (1, 3, -1.0), (2, 1, 0.0)):
            at = head * size
            attention.c_attn.bias[at] = 60.0
            attention.c_attn.weight[V + place, 64 + at] = 1.0
            attention.c_attn.weight[:V, 128 + at : 128 + at + V] = torch.eye(V)
            attention.c_proj.weight[at : at + V, :V] = sign * torch.eye(V)
    return load(hf)


def test_a_head_that_copies_by_hand_is_the_mover_and_its_opposite_is_against_the_foil(copier):
    result = copying_heads(copier, [[0, 5, 1, 7, 2]], target="#5", foil="#7", steps=1)
    found = {kind: [head.label for head in getattr(result, kind)()] for kind in ("moving", "against", "moving_foil")}
    assert found == {"moving": ["L0H0"], "against": [], "moving_foil": []}
    assert [head.label for head in result.against_foil()] == ["L0H1"]
    first, second, idle, wide = result.heads
    assert (first.retrieval, second.retrieval, idle.retrieval) == (1.0, 0.0, 1.0), "it looks, but moves nothing"
    assert first.from_target == pytest.approx(first.contribution)
    assert (first.contribution > 1, first.effect < -1) == (True, True)
    assert (idle.attention > 0.99, idle.contribution) == (True, 0)
    assert idle.effect == pytest.approx(0, abs=1e-5)
    assert wide.attention < 0.5


def test_by_weights_alone_it_copies_and_the_other_does_the_opposite(copier):
    scores = [head.copying for head in head_circuits(copier, embedding="token").heads]
    assert scores[:2] == pytest.approx([1.0, -1.0], abs=1e-6)
    assert scores[2:] == [None, None]
