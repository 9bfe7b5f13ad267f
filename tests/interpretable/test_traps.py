"""The worst traps of the tools that this package unites, one test each: what they computed fails it."""

from functools import partial

import pytest
import torch

import fluoroscope
from fluoroscope import ModelAnalyzer
from fluoroscope.analyses.logit_attribution import logit_attribution
from fluoroscope.errors import FluoroscopeError
from fluoroscope.interpretable import get_activations
from fluoroscope.interpretable.causal import acdc, activation_patching, direct_logit_attribution, path_patching
from fluoroscope.interventions import replace
from interpretable.conftest import IDS, OTHER

LEAD = {"metric": "logit_diff", "metric_kwargs": {"correct_token": 41, "incorrect_token": 60}}


def test_1_the_default_component_is_patched(pair):
    """There, every effect was 0."""
    found = activation_patching(pair.ours, IDS, OTHER)
    assert found.component == "resid_post"
    assert found.effect_matrix.numpy() == pytest.approx([1.0] * pair.ours.xray.n_layers, abs=1e-5)


def test_2_a_path_goes_through_its_receiver_and_needs_a_sender(pair):
    """There, it was 1 for every sender and receiver, and for nonsense."""
    paths = {
        (sender, receiver): path_patching(pair.ours, IDS, OTHER, sender, receiver, **LEAD).effect
        for sender in ("layers.0.self_attn", "layers.0.mlp")
        for receiver in ("layers.1.self_attn", "layers.2.mlp")
    }
    assert len({round(effect, 6) for effect in paths.values()}) == len(paths)
    assert all(abs(effect - 1) > 1e-3 for effect in paths.values())
    with pytest.raises(FluoroscopeError, match="does not compute before"):
        path_patching(pair.ours, IDS, OTHER, "layers.2.mlp", "layers.1.self_attn", **LEAD)
    with pytest.raises(FluoroscopeError):
        path_patching(pair.ours, IDS, OTHER, "nonsense", "layers.1.mlp", **LEAD)


def test_3_edges_are_tested_and_weighed_one_by_one(pair):
    """There, all ordered pairs of the nodes that were kept were edges, each with its sender's weight."""
    found = acdc(pair.ours, IDS, OTHER, threshold=0.05, **LEAD)
    by_sender: dict[str, set[float]] = {}
    for sender, _, weight in found.edges:
        by_sender.setdefault(sender, set()).add(round(weight, 6))
    nodes = len(found.nodes)
    assert 0 < len(found.edges) < found.tested
    assert len(found.edges) != nodes * (nodes - 1) // 2
    assert max(map(len, by_sender.values())) > 1


def test_4_the_parts_that_matter_most_are_kept_by_every_metric(pair):
    """There, kl kept those that matter least: doing nothing was 0 and so was doing all."""
    everything = activation_patching(pair.ours, IDS, OTHER, metric="kl")
    assert everything.effect_matrix.numpy() == pytest.approx([1.0] * pair.ours.xray.n_layers, abs=1e-4)
    kept = acdc(pair.ours, IDS, OTHER, threshold=0.02, metric="kl")
    assert kept.faithfulness > kept.rest


def test_5_a_feature_is_taken_out_of_what_is_there(pair):
    """There, the reconstruction took the place of the value, and was compared with itself: every effect was 0.

    The dictionary is written out here: half a rotation, so that most of the value is the error that it leaves.
    """
    d_model = pair.ours.xray.d_model
    square = torch.randn(d_model, d_model, generator=torch.Generator().manual_seed(3))
    features = torch.linalg.qr(square).Q[:, : d_model // 2]

    def without(feature, value):
        code = (value @ features).relu()
        less = code.clone()
        less[..., feature] = 0
        return value + (less @ features.T - code @ features.T)

    def effect(logits):
        return float((logits[0, -1] - plain[0, -1]).norm())

    plain, kept = pair.hooked(IDS)
    active = (kept["mlp1"] @ features).relu().amax((0, 1))
    found = {}
    for feature in range(features.shape[1]):
        edit = partial(without, feature)
        with pair.ours.trace(IDS, interventions={"layers.1.mlp": edit}) as trace:
            found[feature] = effect(trace.output)
        assert found[feature] == pytest.approx(effect(pair.hooked(IDS, mlp1=edit)[0]), rel=1e-4, abs=1e-4)
    assert all(found[feature] < 1e-4 for feature in found if active[feature] == 0)
    assert max(found.values()) > 2 * sorted(found.values())[len(found) // 2] > 0
    with pair.ours.trace(IDS, interventions={"layers.1.mlp": lambda value: value @ features @ features.T}) as trace:
        assert effect(trace.output) > max(found.values())  # the error that must be left in place


def test_6_heads_are_patched_before_the_output_projection(pair):
    """There, a head was a slice of what the projection gives out."""
    xray = pair.ours.xray
    clean, base = xray.trace(IDS, sites=["z.1"]), xray.trace(OTHER)
    found = activation_patching(pair.ours, IDS, OTHER, component="attn_head", layers=[1], **LEAD)
    lead = [float(run.logits[0, -1, 41] - run.logits[0, -1, 60]) for run in (clean, base)]
    for head in range(xray.n_heads):
        logits = xray.trace(OTHER, edits={f"z.1.{head}": replace(clean["z.1"][:, :, head])}).logits[0, -1]
        share = (float(logits[41] - logits[60]) - lead[1]) / (lead[0] - lead[1])
        assert found.effect_matrix.numpy()[0, head] == pytest.approx(share, abs=1e-4)


def test_7_heads_differ_and_the_target_is_what_the_model_predicts(specimen):
    """There, all heads of a layer had one number, and the target was the last token of the input."""
    text = "When Mary and John went to the store, John gave a drink to"
    found = logit_attribution(specimen.xray, text)
    assert found.target_ids == (int(specimen(text)[0, -1].argmax()),)
    heads = [part.value for part in found.parts if part.site and part.site.startswith("z.4")]
    assert len({round(value, 5) for value in heads}) == specimen.xray.n_heads


def test_8_what_adds_to_a_logit_sums_to_it(pair):
    """There, each part was normed by itself, and embeddings were left out."""
    found = direct_logit_attribution(pair.ours, IDS, target_token=7)
    parts = [*found.attention, *found.mlps, found.embedding, found.bias]
    assert sum(parts) == pytest.approx(float(pair.hooked(IDS)[0][0, -1, 7]), rel=1e-4)


def test_9_attention_is_the_models_own(pair):
    """There, it was computed again from the projections, without norms, caps and masks."""
    pair.plain.set_attn_implementation("eager")
    with torch.no_grad():
        expected = pair.plain(torch.tensor([IDS]), output_attentions=True).attentions
    pair.plain.set_attn_implementation("sdpa")
    with pair.ours.trace(IDS) as trace:
        for layer, pattern in enumerate(expected):
            found = trace.activations[f"layers.{layer}.attention_weights"]
            torch.testing.assert_close(found, pattern, rtol=1e-5, atol=1e-6)


def test_10_a_run_patched_with_itself_is_itself(pair):
    """There, what enters a block was written back as what leaves it."""
    xray = pair.ours.xray
    trace = xray.trace(IDS, sites=["resid_pre.*", "resid_post.*", "attn_out.*", "mlp_out.*"])
    for site in trace.sites:
        assert torch.equal(xray.trace(IDS, edits={site: replace(trace[site])}).logits, trace.logits)
    found = ModelAnalyzer(fluoroscope.load()).layer_patching("The capital of France is", "The capital of Italy is")
    assert found[max(found)] == pytest.approx(1.0, abs=1e-5)


def test_11_the_last_layer_says_what_the_model_says(pair):
    """There, the final norm was applied a second time."""
    found = pair.ours.logit_lens(IDS, top_k=1)
    logits = pair.hooked(IDS)[0][0]
    assert [row[0][0] for row in found[max(found)]] == logits.argmax(-1).tolist()
    scores = torch.tensor([row[0][1] for row in found[max(found)]])
    torch.testing.assert_close(scores, logits.max(-1).values, rtol=1e-5, atol=1e-5)


def test_12_a_prompt_is_read_alike_alone_and_in_a_batch(specimen):
    """There, shorter prompts were padded with token 0, without a mask, and read at the padding."""
    long, short = "Once upon a time there was a little girl", "Tom saw"
    alone, both = get_activations(specimen, short)["layer_5"], get_activations(specimen, [long, short])["layer_5"]
    torch.testing.assert_close(both[1], alone[0], rtol=1e-4, atol=1e-4)
