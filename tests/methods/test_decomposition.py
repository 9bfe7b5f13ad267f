"""The exact sum on every kind of norm and block, by linearity and by hand; where there is none, it is refused."""

import pytest
import torch

from architectures.common import ids, model, true_float64
from fluoroscope.errors import UnavailableError
from fluoroscope.methods import decomposition
from fluoroscope.sites import Site

CASES = ["llama", "gpt2", "gemma2", "granite", "cohere", "olmo", "olmo2", "gpt_neox", "phi", "opt-untied"]


def parts_of(case, weights, grain="head", slot=12):
    with true_float64():
        found = model(case, None, torch.float64)
        trace = found.trace(ids(1), sites=decomposition.sites_needed(found, grain))
        return found, trace, decomposition.decompose(found, trace, slot, weights, grain)


def one_hot(*tokens):
    weights = torch.zeros(97, dtype=torch.float64)
    for token, value in tokens:
        weights[token] = value
    return weights


@pytest.mark.parametrize("case", CASES)
def test_it_is_linear_in_the_logits(case):
    _, _, both = parts_of(case, one_hot((5, 2.0), (11, -0.5)))
    _, _, first = parts_of(case, one_hot((5, 1.0)))
    _, _, second = parts_of(case, one_hot((11, 1.0)))
    for whole, one, other in zip(both, first, second, strict=True):
        assert whole.name == one.name == other.name
        assert whole.value == pytest.approx(2 * one.value - 0.5 * other.value, abs=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_parts_come_in_the_order_of_computation_under_names_of_their_own(case):
    found, _, parts = parts_of(case, one_hot((5, 1.0)))
    layers = [part.layer for part in parts]
    assert layers == sorted(layers)
    assert len({part.name for part in parts}) == len(parts)
    sites = {part.site for part in parts if part.site}
    assert {Site("z", layer, head) for layer in range(found.n_layers) for head in range(found.n_heads)} <= sites
    assert {Site("mlp_out", layer) for layer in range(found.n_layers)} <= sites
    assert [part.label for part in parts if part.site == Site("z", 1, 2)] == ["L1H2"]
    assert all(part.label == part.name for part in parts if part.site is None)


def test_a_head_is_its_share_of_the_stream_through_the_frozen_norm_by_hand():
    found, trace, parts = parts_of("llama", one_hot((5, 1.0)))
    hf, slot = found.hf, 12
    stream = trace["resid_post.2"][0, slot]
    inverse = torch.rsqrt(stream.square().mean() + hf.config.rms_norm_eps)
    row = hf.lm_head.weight[5] * hf.model.norm.weight * inverse
    value = {part.name: part.value for part in parts}
    with torch.no_grad():
        for layer in range(3):
            projection = hf.model.layers[layer].self_attn.o_proj
            for head in range(4):
                mine = slice(head * 12, (head + 1) * 12)
                added = projection.weight[:, mine] @ trace[f"z.{layer}"][0, slot, head]
                assert value[f"z.{layer}.{head}"] == pytest.approx(float(row @ added), abs=1e-9)
            assert value[f"b_O.{layer}"] == pytest.approx(float(row @ projection.bias), abs=1e-9)


def test_nothing_asked_is_nothing_added():
    _, _, parts = parts_of("llama", torch.zeros(97, dtype=torch.float64))
    assert all(part.value == 0 for part in parts)


@pytest.mark.parametrize(("case", "before"), [("gemma2-untied", True), ("llama", False)])
def test_the_linear_logit_is_before_a_softcap(case, before):
    weights = one_hot((5, 1.0), (11, -0.5))
    found, trace, _ = parts_of(case, weights)
    linear = decomposition.linear_logit(found, trace, 12, weights)
    shown = float(trace.logits[0, 12].double() @ weights)
    assert (abs(linear - shown) > 1e-3) == before


def test_where_no_exact_sum_exists_it_is_refused():
    found = model("llama")
    trace = found.trace(ids(1), sites=decomposition.sites_needed(found, "head"))
    found.unavailable["frozen_norm", None] = "the final norm is of another kind"
    try:
        with pytest.raises(UnavailableError, match="no exact decomposition: the final norm is of another kind"):
            decomposition.decompose(found, trace, 0, one_hot((5, 1.0)))
    finally:
        del found.unavailable["frozen_norm", None]


@pytest.mark.parametrize("case", ["llama", "gpt2", "gemma2", "granite", "olmo2", "phi"])
def test_neurons_and_their_bias_are_what_the_mlp_writes(case):
    weights = one_hot((5, 2.0), (11, -0.5))
    found, _, whole = parts_of(case, weights)
    _, trace, split = parts_of(case, weights, "neuron")
    for layer in range(found.n_layers):
        [mlp] = [part.value for part in whole if part.site == Site("mlp_out", layer)]
        neurons = [part for part in split if part.site and (part.site.name, part.layer) == ("neurons", layer)]
        assert [part.site.unit for part in neurons] == list(range(trace[f"neurons.{layer}"].shape[-1]))
        biases = [part.value for part in split if part.name == f"b_out.{layer}"]
        assert sum(part.value for part in neurons) + sum(biases) == pytest.approx(mlp, abs=1e-9)
    heads = [[part.value for part in parts if part.site and part.site.name == "z"] for parts in (whole, split)]
    assert heads[0] == pytest.approx(heads[1], abs=1e-12)


def test_one_neuron_is_its_row_of_the_weights_by_hand():
    found, trace, parts = parts_of("llama", one_hot((5, 1.0)), "neuron")
    hf, slot = found.hf, 12
    inverse = torch.rsqrt(trace["resid_post.2"][0, slot].square().mean() + hf.config.rms_norm_eps)
    row = hf.lm_head.weight[5] * hf.model.norm.weight * inverse
    [part] = [part for part in parts if part.site == Site("neurons", 1, 7)]
    with torch.no_grad():
        by_hand = trace["neurons.1"][0, slot, 7] * hf.model.layers[1].mlp.down_proj.weight[:, 7] @ row
    assert part.value == pytest.approx(float(by_hand), abs=1e-12)
    assert part.label == "L1N7"


@pytest.mark.parametrize("case", ["llama", "gpt2", "gemma2", "granite", "olmo2", "phi"])
def test_what_a_head_reads_from_each_token_is_what_it_adds(case):
    """Grouped queries, post-norms and multipliers among them."""
    weights = one_hot((5, 2.0), (11, -0.5))
    _, _, whole = parts_of(case, weights)
    found, trace, split = parts_of(case, weights, "source")
    for layer in range(found.n_layers):
        for head in range(found.n_heads):
            [value] = [part.value for part in whole if part.site == Site("z", layer, head)]
            read = [part for part in split if part.site == Site("z", layer, head)]
            assert [part.source for part in read] == list(range(13))
            assert sum(part.value for part in read) == pytest.approx(value, abs=1e-9)
            unread = trace[f"pattern.{layer}"][0, head, 12, :13] == 0
            assert all(part.value == 0 for part, none in zip(read, unread, strict=True) if none)
    others = [[p.value for p in parts if p.site is None or p.site.name != "z"] for parts in (whole, split)]
    assert others[0] == pytest.approx(others[1], abs=1e-9)


def test_one_source_is_its_value_through_the_weights_by_hand():
    """The query heads 2 and 3 of this model read the kv head 1."""
    found, trace, parts = parts_of("llama", one_hot((5, 1.0)), "source")
    hf, slot = found.hf, 12
    inverse = torch.rsqrt(trace["resid_post.2"][0, slot].square().mean() + hf.config.rms_norm_eps)
    row = hf.lm_head.weight[5] * hf.model.norm.weight * inverse
    [part] = [part for part in parts if (part.site, part.source) == (Site("z", 1, 3), 4)]
    with torch.no_grad():
        read = trace["pattern.1"][0, 3, slot, 4] * trace["v.1"][0, 1, 4]
        by_hand = hf.model.layers[1].self_attn.o_proj.weight[:, 36:48] @ read @ row
    assert part.value == pytest.approx(float(by_hand), abs=1e-12)
    assert (part.label, part.name) == ("L1H3@4", "z.1.3@4")


def test_experts_stay_whole():
    found, _, parts = parts_of("mixtral", one_hot((5, 1.0)), "neuron")
    assert {Site("mlp_out", layer) for layer in range(found.n_layers)} <= {part.site for part in parts}
