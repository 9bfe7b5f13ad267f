"""Copying values between runs: against plain Hugging Face with plain hooks, and one plain trace for each variant."""

import pytest
import torch
from transformers import AutoModelForCausalLM

import tiny
from architectures.common import ids, model
from fluoroscope.errors import ArgumentError, EditError
from fluoroscope.interventions import at, replace
from fluoroscope.methods import patching
from fluoroscope.methods.patching import Patch, patched, shares
from fluoroscope.progress import listening
from fluoroscope.sites import Site

SITES = [
    "resid_pre.1", "z.1.2", "z.1", "attn_out.0", "mlp_out.1", "neurons.1.5", "q.1.1", "pattern.0.3", "resid_post.1",
]  # fmt: skip


def test_a_head_and_an_mlp_are_what_a_plain_hook_writes(tiny_model, tiny_folder):
    prompt = tiny_model.tokens(tiny.PROMPT).ids
    head, mlp = torch.randn(8), torch.randn(24)
    variants = [[Patch(Site("z", 0, 1), 4, head)], [Patch(Site("z", 0, 1), 4, head), Patch(Site("mlp_out", 1), 7, mlp)]]
    found, _ = patched(tiny_model, prompt[0].tolist(), variants, slot=9)
    plain = AutoModelForCausalLM.from_pretrained(tiny_folder).eval()

    def write_head(module, args):
        value = args[0].clone()
        value[0, 4, 8:16] = head
        return (value,)

    def write_mlp(module, args, output):
        output = output.clone()
        output[0, 7] = mlp
        return output

    plain.transformer.h[0].attn.c_proj.register_forward_pre_hook(write_head)
    with torch.no_grad():
        assert torch.allclose(found[0], plain(prompt).logits[0, 9], atol=1e-5)
        plain.transformer.h[1].mlp.register_forward_hook(write_mlp)
        assert torch.allclose(found[1], plain(prompt).logits[0, 9], atol=1e-5)


@pytest.mark.parametrize("case", ["gpt2", "llama", "gemma2", "gpt_neox", "phi3"])
def test_every_variant_is_one_plain_trace_with_its_edits(case):
    whole, prompt, end = model(case), ids(1)[0], 12
    kept = Site("resid_post", 2)
    sites = [Site.parse(name) for name in SITES]
    trace = whole.trace(list(reversed(prompt)), sites=[site.whole for site in sites])
    patches = [Patch(site, 4 + slot, trace.positions_first(site)[0, 4 + slot]) for slot, site in enumerate(sites)]
    twice = [patches[1], Patch(patches[1].site, 7, patches[1].value)]
    variants = [[], *([patch] for patch in patches), patches[1:3], twice]
    logits, values = patched(whole, prompt, variants, end, [kept])
    for row, variant in enumerate(variants):
        edits: dict[Site, list] = {}
        for patch in variant:
            axis = patch.site.kind.position_axis
            unit = patch.site.unit is not None and patch.site.kind.unit_axis < axis
            value = patch.value.unsqueeze(axis - unit - 1).unsqueeze(0) if patch.value.dim() else patch.value
            edits.setdefault(patch.site, []).append(at(replace(value), positions=patch.slot))
        alone = whole.trace(prompt, sites=[kept], edits=edits)
        assert torch.allclose(logits[row], alone.logits[0, end], atol=2e-5)
        assert torch.allclose(values[kept][row], alone[kept][0], atol=2e-5)
    assert ((logits - logits[0]).abs().amax(-1) > 1e-4).sum() >= 5  # windows keep some from the end


def test_a_wide_sweep_is_cut_into_passes(monkeypatch):
    whole, prompt = model("gpt2"), ids(1)[0]
    variants = [[Patch(Site("z", layer, head), 3, torch.zeros(8))] for layer in range(3) for head in range(4)]
    site = Site("resid_post", 1)
    once = patched(whole, prompt, variants, 5, [site])
    monkeypatch.setattr(patching, "_TOKENS_AT_ONCE", 5 * len(prompt))
    passes = []
    with listening(lambda label, done, total: passes.append(total) if label == "patching" else None):
        cut = patched(whole, prompt, variants, 5, [site])
    assert passes[0] == 3
    assert torch.allclose(once[0], cut[0], atol=1e-5)
    assert torch.allclose(once[1][site], cut[1][site], atol=1e-5)


def test_nothing_to_patch_is_no_row(tiny_model):
    logits, values = patched(tiny_model, [1, 2], [], 1, [Site("z", 0)])
    assert logits.shape == (0, tiny_model.d_vocab)
    assert values == {}


def test_a_value_of_another_shape_is_refused(tiny_model):
    with pytest.raises(EditError, match=r"a patch of z.0 has the shape \(1,\)"):
        patched(tiny_model, [1, 2], [[Patch(Site("z", 0, 1), 1, torch.zeros(1))]], 1)


def test_shares_by_hand():
    base, donor = torch.tensor([0.0, 0.0, 0.0]), torch.tensor([2.0, 1.0, 0.0])
    rows = torch.stack([base, donor, torch.tensor([1.0, 0.0, 0.0])])
    p = donor.double().softmax(-1)
    far = [float((p * (p / row.double().softmax(-1)).log()).sum()) for row in rows]
    assert shares(rows, base, donor).tolist() == pytest.approx([0, 1, 1 - far[2] / far[0]], abs=1e-9)
    assert shares(rows, base, donor, lambda logits: logits[:, 0]).tolist() == pytest.approx([0, 1, 0.5])
    with pytest.raises(ArgumentError, match="same prediction"):
        shares(rows, base, base + 3)
    with pytest.raises(ArgumentError, match="both prompts score 0"):
        shares(rows, base, donor, lambda logits: logits[:, 2])
