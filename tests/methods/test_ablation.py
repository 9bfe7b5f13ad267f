"""Zero ablation in batches, against one forward for each variant."""

import torch

from architectures.common import ids, model
from fluoroscope.interventions import zero
from fluoroscope.methods import ablation
from fluoroscope.progress import listening
from fluoroscope.sites import Site


def test_a_batch_of_variants_is_one_forward_each():
    found = model("llama")
    prompt = ids(1)[0]
    variants = [[], [Site("z", 0, 1)], [Site("mlp_out", 1), Site("z", 0, 1)], [Site("resid_post", 0)]]
    batched = ablation.without(found, prompt, variants, slot=len(prompt) - 1)
    for row, sites in zip(batched, variants, strict=True):
        alone = found.trace(prompt, edits={site: zero() for site in sites}).logits[0, -1]
        assert torch.allclose(row, alone, atol=1e-5)


def test_a_wide_sweep_is_cut_into_passes(monkeypatch):
    found = model("gpt2")
    prompt = ids(1)[0]
    variants = [[Site("z", layer, head)] for layer in range(found.n_layers) for head in range(found.n_heads)]
    whole = ablation.without(found, prompt, variants, slot=2)
    monkeypatch.setattr(ablation, "_TOKENS_AT_ONCE", 3 * len(prompt))
    passes = []
    with listening(lambda label, done, total: passes.append(total) if label == "ablation" else None):
        cut = ablation.without(found, prompt, variants, slot=2)
    assert passes[0] == -(-len(variants) // 3)
    assert torch.allclose(whole, cut, atol=1e-5)
