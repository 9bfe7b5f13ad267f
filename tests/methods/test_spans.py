"""Attention and attribution between spans: by explicit loops, and against the whole that they must sum to."""

import pytest
import torch

from architectures import common
from fluoroscope.methods import decomposition, spans

IDS = common.ids(1)[0]
PARTS = [slice(1, 4), slice(4, 5), slice(7, 13)]


def test_attention_is_summed_over_sources_and_averaged_over_readers():
    pattern = torch.rand(2, 3, 13, 13, generator=torch.Generator().manual_seed(0))
    found = spans.attention(pattern, PARTS, [*PARTS, slice(0, 1)])
    assert found.shape == (2, 3, 3, 4)
    for r, reader in enumerate(PARTS):
        for s, source in enumerate([*PARTS, slice(0, 1)]):
            rows = [sum(float(pattern[1, 2, q, k]) for k in range(13)[source]) for q in range(13)[reader]]
            assert float(found[1, 2, r, s]) == pytest.approx(sum(rows) / len(rows))
    assert spans.attention(pattern, [slice(3, 3)], PARTS).isnan().all()


def test_spans_that_tile_the_text_share_out_all_attention():
    trace = common.model("llama").trace([IDS], sites=["pattern.*"])
    tiles = [slice(0, 4), slice(4, 5), slice(5, 13)]
    for site in trace.sites:
        assert torch.allclose(
            spans.attention(trace[site][0], tiles, tiles).sum(-1), torch.ones(4, 3).double(), atol=1e-6
        )


@pytest.mark.parametrize("case", ["gpt2", "llama", "gemma2", "granite", "phi", "mixtral"])
@pytest.mark.parametrize("foil", [None, 9])
def test_a_logit_is_the_exact_sum_of_what_was_read_where(case, foil):
    model = common.model(case)
    trace = model.trace([IDS], sites=decomposition.sites_needed(model, "source"))
    weights = torch.zeros(97, dtype=torch.float64)
    weights[5] = 1
    if foil is not None:
        weights[foil] = -1
    found = spans.attribution(model, trace, PARTS, 12, weights)
    if model.architecture.softcap is None:
        logits = trace.logits[0, 12].double()
        assert found.logit == pytest.approx(float(logits[5] - (0 if foil is None else logits[foil])), abs=1e-5)
    assert sum(found.read) + found.elsewhere + found.own == pytest.approx(found.logit, rel=1e-4, abs=1e-4)
    assert found.error == pytest.approx(sum(found.read) + found.elsewhere + found.own - found.logit)
    parts = decomposition.decompose(model, trace, 12, weights, "source")
    for span, value in zip(PARTS, found.read, strict=True):
        assert value == pytest.approx(sum(p.value for p in parts if p.source in range(13)[span]))
    assert found.elsewhere == pytest.approx(sum(p.value for p in parts if p.source in (0, 5, 6)))


@pytest.mark.parametrize("case", ["gpt2", "llama", "gemma2", "granite"])
def test_flow_is_what_heads_write_by_where_they_read_it(case):
    """By plain loops over heads and tokens; each vector as it is added, behind a post-norm or a factor."""
    model = common.model(case)
    trace = model.trace([IDS], sites=["pattern.*", "v.*", "attn_out.*"])
    sizes = torch.zeros(13, dtype=torch.float64)
    for layer in range(model.n_layers):
        parts = torch.zeros(model.n_heads, 13, model.d_model, dtype=torch.float64)
        for head in range(model.n_heads):
            own = head * model.n_kv_heads // model.n_heads
            for key in range(13):
                share = trace[f"pattern.{layer}"][0, head, 12, key].double()
                parts[head, key] = share * (
                    trace[f"v.{layer}"][0, own, key].double() @ model.weights[f"W_O.{layer}.{head}"].double()
                )
        bias = model.weights.get(f"b_O.{layer}")
        raw = parts.sum((0, 1)) if bias is None else parts.sum((0, 1)) + bias.double()
        if case == "gemma2":
            norm = model.blocks[layer].post_attention_layernorm
            gain = (1 + norm.weight.double()) / (raw.pow(2).mean() + norm.eps).sqrt()
        else:
            gain = torch.full_like(raw, model.architecture.residual_multiplier)
        torch.testing.assert_close((raw * gain).float(), trace[f"attn_out.{layer}"][0, 12], rtol=1e-4, atol=1e-4)
        sizes += (parts * gain).norm(dim=-1).sum(0).detach()
    found = spans.flow(model, trace, [slice(0, 4), slice(4, 13)], 12)
    assert found == pytest.approx([float(sizes[:4].sum() / sizes.sum()), float(sizes[4:].sum() / sizes.sum())])
    assert sum(found) == pytest.approx(1.0)
