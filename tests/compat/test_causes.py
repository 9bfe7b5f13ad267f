"""Each effect against one edited trace per site, and against what must hold of any model."""

import numpy as np
import pytest
import torch

from architectures import common
from fluoroscope.compat.causes import (
    CausalTracer,
    activation_patch_experiment,
    compute_feature_attribution,
    layer_patching,
    path_patching,
)
from fluoroscope.errors import ArgumentError, SiteError, TokenError
from fluoroscope.interventions import at, replace, zero

CLEAN, CORRUPTED = "the cat sat", "the dog ran"


def by_hand(model, base, donor, site, positions=None):
    """1 - KL(donor ‖ patched) / KL(donor ‖ base) at the end, by one edit."""
    runs = [model.trace(text, sites=[site]) for text in (base, donor)]
    value = runs[1][site][0] if positions is None else runs[1][site][0, -1]
    edit = replace(value) if positions is None else at(replace(value), positions)
    patched = model.trace(base, edits={site: edit})
    before, aim, after = (run.logits[0, -1].double().log_softmax(-1) for run in (*runs, patched))

    def far(log_p):
        return float((aim.exp() * (aim - log_p)).sum())

    return 1 - far(after) / far(before)


@pytest.mark.parametrize("direction", ["corrupted_into_clean", "clean_into_corrupted"])
def test_layers_by_hand(tiny_model, direction):
    base, donor = (CLEAN, "a dog") if direction == "corrupted_into_clean" else ("a dog", CLEAN)
    found = layer_patching(tiny_model, None, CLEAN, "a dog", direction=direction)
    expected = {layer: by_hand(tiny_model, base, donor, f"resid_post.{layer}", -1) for layer in range(2)}
    assert found == pytest.approx(expected, abs=1e-5)
    assert found[1] == pytest.approx(1, abs=1e-6)
    assert path_patching is layer_patching


def test_some_layers_of_another_family():
    model = common.model("llama")
    a, b = ([[5, 9, 3]], [[5, 8, 2, 3]])
    found = layer_patching(model, None, a, b, layers_to_test=[0, 2])
    assert list(found) == [0, 2]
    assert found[0] != 0
    assert found[2] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("direction", ["corrupted_into_clean", "clean_into_corrupted"])
def test_heads_and_mlps_by_hand(tiny_model, direction):
    base, donor = (CLEAN, CORRUPTED) if direction == "corrupted_into_clean" else (CORRUPTED, CLEAN)
    tracer = CausalTracer(tiny_model)
    heads = tracer.trace_attention_heads(CLEAN, CORRUPTED, direction=direction)
    assert heads.shape == (2, 3)
    for layer, head in ((0, 1), (1, 2)):
        assert heads[layer, head] == pytest.approx(by_hand(tiny_model, base, donor, f"z.{layer}.{head}"), abs=1e-4)
    mlps = tracer.trace_mlp_layers(CLEAN, CORRUPTED, direction=direction)
    assert mlps == pytest.approx({n: by_hand(tiny_model, base, donor, f"mlp_out.{n}") for n in range(2)}, abs=1e-4)


def test_a_metric_of_ones_own(tiny_model):
    heads = CausalTracer(tiny_model).trace_attention_heads(CLEAN, CORRUPTED, lambda logits: logits[:, 7] - logits[:, 3])
    runs = [tiny_model.trace(text, sites=["z.0"]) for text in (CLEAN, CORRUPTED)]
    patched = tiny_model.trace(CLEAN, edits={"z.0.2": replace(runs[1]["z.0.2"][0])})
    start, end, now = (float(run.logits[0, -1, 7] - run.logits[0, -1, 3]) for run in (*runs, patched))
    assert heads[0, 2] == pytest.approx((now - start) / (end - start), abs=1e-4)


def test_an_experiment_says_all_that_it_did(tiny_model):
    found = activation_patch_experiment(tiny_model, None, CLEAN, CORRUPTED, "transformer.h.0", position=4)
    donor = tiny_model.trace(CORRUPTED, sites=["resid_post.0"])["resid_post.0"][0, 4]
    expected = tiny_model.trace(CLEAN, edits={"resid_post.0": at(replace(donor), 4)}).logits
    torch.testing.assert_close(found["patched_logits"], expected)
    assert torch.equal(found["patched_logits"][:, :4], found["clean_logits"][:, :4])
    assert (found["layer"], found["position"], found["direction"]) == ("transformer.h.0", 4, "corrupted_into_clean")
    same = activation_patch_experiment(tiny_model, None, CLEAN, CORRUPTED, 0, 0)  # both begin with the same token
    assert same["effect"] == pytest.approx(0, abs=1e-6)


def test_the_neurons_that_cost_most(tiny_model):
    """All 96 neurons by brute force; the candidates of the gradient hold the best of them."""
    found = compute_feature_attribution(tiny_model, None, CLEAN, "transformer.h.1", position=5, n_features=3)
    plain = tiny_model.trace(CLEAN).logits[0, 5]
    token = int(plain.argmax())
    costs = {
        unit: float(plain[token] - tiny_model.trace(CLEAN, edits={f"L1N{unit}": at(zero(), 5)}).logits[0, 5, token])
        for unit in range(tiny_model.d_mlp)
    }
    best = sorted(costs.items(), key=lambda pair: -abs(pair[1]))[:3]
    assert [unit for unit, _ in found] == [unit for unit, _ in best]
    assert [cost for _, cost in found] == pytest.approx([cost for _, cost in best], abs=1e-4)


def test_what_means_nothing_is_refused(tiny_model):
    with pytest.raises(ArgumentError, match="same prediction"):
        layer_patching(tiny_model, None, CLEAN, CLEAN)
    with pytest.raises(ArgumentError, match="Did you mean 'clean_into_corrupted'"):
        layer_patching(tiny_model, None, CLEAN, CORRUPTED, direction="clean_in_corrupted")
    with pytest.raises(ArgumentError, match="11 and 5 tokens"):
        CausalTracer(tiny_model).trace_mlp_layers(CLEAN, "a dog")
    with pytest.raises(SiteError, match="beyond the last layer"):
        layer_patching(tiny_model, None, CLEAN, CORRUPTED, layers_to_test=[2])
    with pytest.raises(TokenError, match="no token 7"):
        activation_patch_experiment(tiny_model, None, CLEAN, "a dog", 0, position=7)
    with pytest.raises(ArgumentError, match="no vector per token"):
        activation_patch_experiment(tiny_model, None, CLEAN, CORRUPTED, "z.0.1")
    with pytest.raises(ArgumentError, match="names nothing"):
        compute_feature_attribution(tiny_model, None, CLEAN, 0, n_features=0)
    assert np.isfinite(CausalTracer(tiny_model).trace_attention_heads(CLEAN, CORRUPTED)).all()
