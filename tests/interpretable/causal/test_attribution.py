"""Attributions: gradients by their formula, sums that are the logit."""

import numpy as np
import pytest
import torch

from architectures.common import model
from architectures.zoo import CASES
from fluoroscope.errors import UnavailableError
from fluoroscope.interpretable import InterpretableModel
from fluoroscope.interpretable.causal import activation_patching, attribution_patching, direct_logit_attribution
from fluoroscope.interpretable.results import AttributionResult, DLAResult
from interpretable.conftest import IDS, OTHER


def test_scores_are_gradient_times_difference(pair):
    """Trap 1 again: the default component was all zero there."""
    xray, words = pair.ours.xray, {"correct_token": 41, "incorrect_token": 60}
    found = attribution_patching(pair.ours, IDS, OTHER, metric="logit_diff", metric_kwargs=words)
    clean = xray.trace(IDS, sites=["resid_post.*"])
    base = xray.trace(OTHER, sites=["resid_post.*"], grad=True)
    lead = base.logits[0, -1, 41] - base.logits[0, -1, 60]
    gap = float((clean.logits[0, -1, 41] - clean.logits[0, -1, 60] - lead).detach())
    sites = [f"resid_post.{layer}" for layer in range(xray.n_layers)]
    gradients = torch.autograd.grad(lead, [base[site] for site in sites])
    expected = [float(((clean[s] - base[s]) * g).sum().detach()) / gap for s, g in zip(sites, gradients, strict=True)]
    assert found.attribution_scores.numpy() == pytest.approx(expected, abs=1e-4)
    assert found.method == "gradient"
    assert AttributionResult.from_json(found.to_json()) == found
    assert found.top_components(1)[0][0] == int(np.abs(expected).argmax())


@pytest.mark.parametrize("component", ["mlp", "attn", "resid_post"])
def test_more_projections_come_to_what_patching_does(pair, component):
    words = {"metric": "logit_diff", "metric_kwargs": {"correct_token": 41, "incorrect_token": 60}}
    exact = activation_patching(pair.ours, IDS, OTHER, component=component, **words).effect_matrix.numpy()
    one, many = (
        attribution_patching(pair.ours, IDS, OTHER, component=component, n_projections=count, **words)
        for count in (1, 64)
    )
    errors = [np.abs(each.attribution_scores.numpy() - exact).max() for each in (one, many)]
    assert errors[1] < min(0.01, errors[0])
    assert (one.passes, many.passes) == (1, 64 * len(exact))
    assert one.views()
    assert "backward pass" in one.summary()


def test_heads_are_a_row_for_each_layer(pair):
    found = attribution_patching(pair.ours, IDS, OTHER, component="attn_head")
    assert found.attribution_scores.numpy().shape == (pair.ours.xray.n_layers, pair.ours.xray.n_heads)
    (layer, head), score = found.top_components(1)[0]
    assert found.attribution_scores.numpy()[layer, head] == score


def test_settings_without_a_meaning_are_refused(pair):
    for options, why in (({"eps": 1e-2}, "has no meaning"), ({"n_projections": 0}, "takes no gradient")):
        with pytest.raises(ValueError, match=why):
            attribution_patching(pair.ours, IDS, OTHER, **options)
    with pytest.raises(ValueError, match="not estimated"):
        attribution_patching(pair.ours, IDS, OTHER, metric=lambda *_: 0.0)


@pytest.mark.parametrize("case", CASES)
def test_the_parts_of_a_logit_sum_to_it(case):
    """Trap 8: there they missed it, by a factor of 5 for one of them."""
    wrapped = InterpretableModel(model(case))
    try:
        found = direct_logit_attribution(wrapped, IDS, target_token=7)
    except UnavailableError:
        assert ("unembed", None) in wrapped.xray.unavailable or wrapped.xray.unavailable
        return
    total = (
        found.head_contributions.numpy().sum()
        + found.mlp_contributions.numpy().sum()
        + found.embedding
        + found.bias
        + found.others
    )
    logit = wrapped(IDS)[0, -1, 7]
    if wrapped.xray.architecture.softcap is None:
        assert found.logit == pytest.approx(float(logit), rel=1e-4, abs=1e-4)
    assert total == pytest.approx(found.logit, rel=1e-4, abs=1e-4)
    some = direct_logit_attribution(wrapped, IDS, target_token=7, layers=[1])
    assert some.attention == pytest.approx([found.attention[1]], abs=1e-6)
    rest = [layer for layer in found.layers if layer != 1]
    assert some.others == pytest.approx(sum(found.attention[i] + found.mlps[i] for i in rest), abs=1e-4)
    for attention, heads in zip(found.attention, found.heads, strict=True):
        assert not heads or len(heads) == wrapped.xray.n_heads or attention == pytest.approx(sum(heads))
    assert DLAResult.from_json(found.to_json()) == found


def test_the_target_is_the_prediction_unless_named(specimen):
    found = direct_logit_attribution(specimen, "Once upon a time")
    assert found.target_token == int(specimen("Once upon a time")[0, -1].argmax())
    assert found.target_token_str == specimen.token_to_str(found.target_token)
    assert direct_logit_attribution(specimen, "Once upon a time", target_token=" Tom").target_token_str == " Tom"
