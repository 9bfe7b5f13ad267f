"""Ablation in batches, against one forward for each variant."""

import pytest
import torch

from architectures.common import ids, model, relative
from fluoroscope.errors import ArgumentError, EditError
from fluoroscope.interventions import at, replace, zero
from fluoroscope.methods import ablation
from fluoroscope.methods.ablation import Reference
from fluoroscope.progress import listening
from fluoroscope.sites import Site

GROUPS = [[], [Site("z", 0, 1)], [Site("mlp_out", 1), Site("z", 0, 1)], [Site("resid_post", 0)], [Site("attn_out", 2)]]
ROWS = [row * 2 for row in ids(3, seed=5)]


@pytest.mark.parametrize("case", ["gpt2", "llama", "gemma2", "qwen3_moe", "olmo2", "bloom"])
@pytest.mark.parametrize("slot", [-1, 4])
def test_a_batch_of_variants_is_one_forward_each(case, slot):
    found, prompt = model(case), ids(1)[0]
    batched = ablation.without(found, prompt, GROUPS, slot % len(prompt))
    for row, sites in zip(batched[:, 0], GROUPS, strict=True):
        alone = found.trace(prompt, edits={site: zero() for site in sites}).logits[0, slot]
        assert relative(row, alone) < 1e-5


@pytest.mark.parametrize("case", ["gpt2", "llama", "gemma2", "qwen3_moe", "bloom"])
def test_means_are_over_all_tokens_behind_the_leads(case):
    found, prompt, sites = model(case), ids(1)[0], [site for group in GROUPS for site in group] + [Site("k", 1)]
    values = ablation.means(found, Reference(ROWS, 1), sites, len(prompt))
    by_hand = {}
    for site in {site.whole for site in sites}:
        held = [found.trace([row], sites=[site])[site].movedim(site.kind.position_axis, 1)[0, 1:] for row in ROWS]
        by_hand[site] = torch.cat(held).double().mean(0)
        assert values[site].shape == (len(prompt) - 1, *by_hand[site].shape)
        assert relative(values[site][3].double(), by_hand[site]) < 1e-5
    assert Reference(ROWS, 1).tokens == sum(map(len, ROWS)) - len(ROWS)
    batched = ablation.without(found, prompt, GROUPS, len(prompt) - 1, [values])
    for row, group in zip(batched[:, 0], GROUPS, strict=True):
        edits = {}
        for site in group:
            value = by_hand[site.whole].float()
            value = value if site.unit is None else value[site.unit]
            edits[site] = at(replace(value.expand(1, len(prompt) - 1, *value.shape)), slice(1, None))
        assert relative(row, found.trace(prompt, edits=edits).logits[0, -1]) < 1e-5


def test_samples_are_other_texts_at_the_same_places():
    found, prompt, head = model("llama"), ids(1)[0], Site("z", 1, 2)
    drawn = [*ablation.resampled(found, Reference(ROWS, 2), [head], len(prompt), 2, seed=0)]
    long = [found.trace([row[: len(prompt)]], sites=["z.1"])["z.1"][0, 2:] for row in ROWS if len(row) >= len(prompt)]
    assert len(drawn) == len(long) == 2
    for each in drawn:
        assert any(torch.allclose(each[Site("z", 1)], other, atol=1e-6) for other in long)
    assert not torch.allclose(drawn[0][Site("z", 1)], drawn[1][Site("z", 1)], atol=1e-3)
    logits = ablation.without(found, prompt, [[head]], len(prompt) - 1, drawn[:1])[0, 0]
    edit = at(replace(drawn[0][Site("z", 1)][None, :, 2]), slice(2, None))
    assert relative(logits, found.trace(prompt, edits={head: edit}).logits[0, -1]) < 1e-5


def test_refusals():
    found, prompt = model("gpt2"), ids(1)[0]
    for samples in (0, 3):
        with pytest.raises(ArgumentError, match="2 of 3 other texts are as long as the prompt"):
            next(ablation.resampled(found, Reference(ROWS, 0), [Site("z", 0, 1)], len(prompt), samples, 0))
    with pytest.raises(ArgumentError, match="Name longer texts"):
        next(ablation.resampled(found, Reference(ROWS, 0), [Site("z", 0, 1)], 99, 1, 0))
    for site in (Site("pattern", 0), Site("head_out", 1, 1)):
        with pytest.raises(EditError, match="no value of another text"):
            ablation.means(found, Reference(ROWS, 0), [site], len(prompt))


def test_traces_are_cut_into_passes(monkeypatch):
    found, prompt = model("gpt2"), ids(1)[0]
    variants = [[Site("z", layer, head)] for layer in range(found.n_layers) for head in range(found.n_heads)]
    whole = ablation.without(found, prompt, variants, slot=2)
    monkeypatch.setattr(ablation, "_TOKENS_AT_ONCE", 3 * len(prompt))
    passes = []
    with listening(lambda label, done, total: passes.append(total) if label == "ablation" else None):
        cut = [trace.logits[:, 2] for trace in ablation.traces_without(found, prompt, variants)]
    assert passes[0] == -(-len(variants) // 3)
    assert torch.allclose(whole[:, 0], torch.cat(cut), atol=1e-5)
