"""Each promise of mlxterp's causal functions against edited runs; each of its traps is an error or the right number."""

import copy

import numpy as np
import pytest
import torch
from tokenizers import processors

import fluoroscope
from architectures import common
from exact import planted
from fluoroscope import metrics
from fluoroscope.analyses.path_patching import path_patching as by_analysis
from fluoroscope.errors import ArgumentError, EditError, SiteError, TokenError, UnavailableError
from fluoroscope.interpretable.causal import activation_patching, causal_trace, path_patching
from fluoroscope.interpretable.patching_results import PatchingResult, PathEffect
from fluoroscope.interventions import at, replace
from methods.path_runs import by_hand

CLEAN = "When Mary and John went to the store, John gave a drink to"
OTHER = "When Mary and John went to the store, Mary gave a drink to"
IDS = [5, 3, 9, 7, 5, 3, 22, 41], [5, 3, 9, 11, 5, 3, 22, 60]
NAMES = {"correct_token": " Mary", "incorrect_token": " John"}


@pytest.fixture(scope="module")
def specimen():
    return fluoroscope.load()


def lead(model, logits):
    return float(logits[0, -1, model.single_token(" Mary")] - logits[0, -1, model.single_token(" John")])


def restored(model, site, positions=None):
    """The share that one edit of the corrupted prompt brings back of the lead."""
    clean, corrupted = (model.trace(text, sites=[model.site(site).whole]) for text in (CLEAN, OTHER))
    value = clean[site] if positions is None else clean[site][:, positions]
    edited = model.trace(OTHER, edits={site: at(replace(value), positions)})
    ends = lead(model, corrupted.logits), lead(model, clean.logits)
    return (lead(model, edited.logits) - ends[0]) / (ends[1] - ends[0])


# ── activation patching ──────────────────────────────────────────────────────────────────────────────


def test_the_whole_stream_brings_everything_back_at_every_layer(specimen):
    """There, the default component did nothing at all (trap 1)."""
    result = activation_patching(specimen, CLEAN, OTHER)
    assert result.effect_matrix.numpy() == pytest.approx(np.ones(6), abs=1e-4)
    assert (result.component, result.metric_name, result.layers) == ("resid_post", "l2", list(range(6)))


@pytest.mark.parametrize(("component", "site"), [("mlp", "mlp_out"), ("attn", "attn_out"), ("self_attn", "attn_out")])
def test_layers_are_edits_of_one_run_each(specimen, component, site):
    result = activation_patching(
        specimen, CLEAN, OTHER, layers=[0, 3], component=component, metric="logit_diff", metric_kwargs=NAMES
    )
    assert result.metric_name == "logit_diff"
    assert result.effect_matrix.numpy() == pytest.approx([restored(specimen, f"{site}.{n}") for n in (0, 3)], abs=1e-4)
    assert result.scores[0] == pytest.approx(
        result.corrupted_score + result.effects[0] * (result.clean_score - result.corrupted_score), abs=1e-4
    )


def test_heads_are_those_before_the_output_projection(specimen):
    """There, slices of the projection's output were called heads (trap 6), and their index was lost (WF-01)."""
    result = activation_patching(
        specimen, CLEAN, OTHER, component="attn_head", metric="logit_diff", metric_kwargs=NAMES
    )
    assert result.effect_matrix.numpy().shape == (6, 8)
    for layer, head in ((4, 2), (3, 2), (1, 5)):
        assert result.effect_matrix.numpy()[layer, head] == pytest.approx(
            restored(specimen, f"L{layer}H{head}"), abs=1e-4
        )
    (first, effect), *_ = result.top_components(k=3)
    assert first == (4, 2)
    assert effect == abs(result.effect_matrix.numpy()).max()


def test_positions_are_patched_one_by_one(specimen):
    """There, all of them were patched together, and negative ones were ignored (PT-04)."""
    result = activation_patching(
        specimen,
        CLEAN,
        OTHER,
        component="mlp",
        positions=[9, -1],
        layers=[0, 3],
        metric="logit_diff",
        metric_kwargs=NAMES,
    )
    assert (result.effect_matrix.numpy().shape, result.positions) == ((2, 2), (9, 13))
    expected = [[restored(specimen, f"mlp_out.{layer}", [place]) for place in (9, -1)] for layer in (0, 3)]
    assert result.effect_matrix.numpy() == pytest.approx(np.array(expected), abs=1e-4)
    heads = activation_patching(
        specimen,
        CLEAN,
        OTHER,
        component="attn_head",
        positions=[-1],
        layers=[4],
        metric="logit_diff",
        metric_kwargs=NAMES,
    )
    assert heads.effect_matrix.numpy().shape == (1, 8, 1)
    assert heads.effect_matrix.numpy()[0, 2, 0] == pytest.approx(restored(specimen, "L4H2", [-1]), abs=1e-4)
    assert heads.top_components(1)[0][0] == (4, 2, 13)


def test_nothing_comes_back_before_the_first_token_that_differs(specimen):
    result = activation_patching(specimen, CLEAN, OTHER, positions="all", metric="logit_diff", metric_kwargs=NAMES)
    assert result.effect_matrix.numpy().shape == (6, 14)
    assert (result.effect_matrix.numpy()[:, :9] == 0).all()
    assert abs(result.effect_matrix.numpy()[0, 9]) > 0.9


def test_several_pairs_give_means_and_intervals(specimen):
    """There, the first row of a batch alone was read."""
    pairs = [(CLEAN, OTHER)] + [
        tuple(f"When {a} and {b} went to the park, {name} gave a drink to" for name in (b, a))
        for a, b in (("Anna", "Tom"), ("Mary", "Tom"))
    ]  # fmt: skip
    sides = [list(side) for side in zip(*pairs, strict=True)]
    result = activation_patching(specimen, *sides, component="attn", layers=[3, 4], metric="logit_diff")
    alone = [
        activation_patching(specimen, *pair, component="attn", layers=[3, 4], metric="logit_diff").effect_matrix.numpy()
        for pair in pairs
    ]
    assert result.pairs == 3
    assert result.effect_matrix.numpy() == pytest.approx(np.mean(alone, axis=0), abs=1e-4)
    assert (np.array(result.low) < result.effect_matrix.numpy()).all()
    assert (np.array(result.high) > result.effect_matrix.numpy()).all()
    assert "mean of 3 pairs" in result.summary()
    assert activation_patching(specimen, *pairs[0]).low is None


METRICS = ["l2", "l2_distance", "kl", "kl_divergence", "cosine", "cosine_distance", "mse", "logit_diff", "ce_diff"]


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_is_a_recovery_and_says_its_score(specimen, metric):
    """There, 0 was the best of kl (trap 4), cross entropy had no bound (ME-04), cosine blew up (ME-06)."""
    result = activation_patching(specimen, CLEAN, OTHER, metric=metric, layers=[0, 5])
    assert result.effect_matrix.numpy() == pytest.approx([1, 1], abs=1e-3)
    assert result.metric_name in metrics.NAMES
    assert result.clean_score != result.corrupted_score
    nothing = activation_patching(specimen, CLEAN, OTHER, metric=metric, layers=[0], positions=[0])
    assert nothing.effects == ((0.0,),)


def test_a_function_of_ones_own_sees_the_three_runs(specimen):
    seen = []

    def recovery(patched, clean, corrupted, *, token):
        seen.append((patched.shape, clean.shape))
        return (patched[:, token] - corrupted[:, token]) / (clean[:, token] - corrupted[:, token])

    token = specimen.single_token(" Mary")
    result = activation_patching(
        specimen, CLEAN, OTHER, metric=recovery, component="mlp", layers=[0], metric_kwargs={"token": token}
    )
    named = activation_patching(
        specimen, CLEAN, OTHER, metric="logit", component="mlp", layers=[0], metric_kwargs={"correct_token": token}
    )
    assert result.effect_matrix.numpy() == pytest.approx(named.effect_matrix.numpy(), abs=1e-5)
    assert (result.metric_name, result.normalised, result.clean_score) == ("recovery", False, None)
    assert all(one == other for one, other in seen)
    by_float = activation_patching(
        specimen, CLEAN, OTHER, component="mlp", layers=[0],
        metric=lambda patched, clean, corrupted: float(recovery(patched, clean, corrupted, token=token)[0]),
    )  # fmt: skip
    assert by_float.effect_matrix.numpy() == pytest.approx(result.effect_matrix.numpy())


def test_a_result_has_what_its_documentation_promises(specimen):
    result = activation_patching(
        specimen, CLEAN, OTHER, component="attn_head", metric="logit_diff", metric_kwargs=NAMES
    )
    assert result.result_type == "patching"
    assert result.metadata["component"] == "attn_head"
    assert result.metadata["direction"] == "denoise"
    assert np.array_equal(result.data["effect_matrix"], result.effect_matrix.numpy())
    assert PatchingResult.from_json(result.to_json()) == result
    assert "L4H2" in result.summary()
    assert "L4H2" in result.to_markdown()
    assert result.plot().axes
    by_token = activation_patching(specimen, CLEAN, OTHER, component="attn_head", positions=[-1, 9])
    assert "‘·John’ 9" in by_token.to_markdown()


@pytest.mark.parametrize("case", ["llama", "gemma2", "gpt_neox", "mixtral", "qwen3", "bloom"])
def test_on_every_family(case):
    model = common.model(case)
    asked = {"metric": "logit_diff", "metric_kwargs": {"correct_token": 7, "incorrect_token": 11}}
    for component, site in (("resid_post", "resid_post"), ("attn", "attn_out"), ("mlp", "mlp_out")):
        result = activation_patching(model, [IDS[0]], [IDS[1]], component=component, **asked)
        for layer in range(model.n_layers):
            clean = model.trace([IDS[0]], sites=[f"{site}.{layer}"])
            edited = model.trace([IDS[1]], edits={f"{site}.{layer}": replace(clean[f"{site}.{layer}"])})
            score = float(edited.logits[0, -1, 7] - edited.logits[0, -1, 11])
            assert result.scores[layer] == pytest.approx(score, abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "error", "why"),
    [
        ({"component": "mpl"}, SiteError, "names no site"),
        ({"component": "mlp.gate_proj"}, UnavailableError, "no such part"),
        ({"component": "final_norm"}, SiteError, "no layers"),
        ({"layers": range(16)}, SiteError, "beyond the last layer"),
        ({"layers": []}, ArgumentError, "is no list of layers"),
        ({"positions": []}, ArgumentError, "names no token"),
        ({"positions": "last"}, ArgumentError, "names no token"),
        ({"positions": [14]}, TokenError, "no token 14"),
        ({"metric": "l3"}, ArgumentError, "unknown metric"),
        ({"metric": "l2", "metric_kwargs": NAMES}, ArgumentError, "l2 needs no answer"),
        ({"metric_kwargs": {"corect_token": 3}}, ArgumentError, "Did you mean 'correct_token'"),
        ({"metric_kwargs": {"correct_token": 3, "answer": 4}}, ArgumentError, "a second time"),
        (
            {"metric": "logit_diff", "metric_kwargs": {"correct_token": " Mary John", "incorrect_token": 3}},
            TokenError,
            "is 2 tokens",
        ),
        ({"corrupted": "When Mary and John went"}, ArgumentError, "14 and 5 tokens"),
        ({"corrupted": CLEAN}, ArgumentError, "same tokens"),
        ({"corrupted": [OTHER, OTHER]}, ArgumentError, "1 clean and 2 corrupted"),
    ],
)
def test_what_there_was_absorbed_is_an_error(specimen, arguments, error, why):
    with pytest.raises(error, match=why):
        activation_patching(specimen, **{"clean": CLEAN, "corrupted": OTHER} | arguments)


def test_positions_of_pairs_of_other_lengths_are_refused(specimen):
    short = ["The capital of France is", "The capital of Spain is"]
    sides = [[CLEAN, short[0]], [OTHER, short[1]]]
    assert activation_patching(specimen, *sides, layers=[2]).pairs == 2
    with pytest.raises(ArgumentError, match=r"\[5, 14\] tokens are not the same places"):
        activation_patching(specimen, *sides, positions=[-1])


def test_prompts_of_one_score_are_an_error_and_no_zero(specimen):
    """There, a baseline without a difference gave 0.0 (ME-02)."""
    with pytest.raises(ArgumentError, match="score the same"):
        activation_patching(
            specimen, "The owl lay on the hotel. The owl lay on the", "The bee lay on the hotel. The bee lay on the",
            metric="rank", metric_kwargs={"correct_token": " hotel"},
        )  # fmt: skip


def test_a_tokenizer_that_adds_bos_does_not_make_it_the_answer():
    """There, the first id of an encoded target was taken, BOS on both sides (PT-06)."""
    tokenizer = copy.deepcopy(fluoroscope.load().tokenizer)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    model = fluoroscope.load("specimen", tokenizer=tokenizer)
    assert model.tokens(CLEAN).rows[0][0] == 0
    assert tokenizer(" Mary").input_ids[0] == 0
    result = activation_patching(
        model, CLEAN, OTHER, layers=[5], metric="logit_diff",
        metric_kwargs={"clean_target": " Mary", "corrupted_target": " John"},
    )  # fmt: skip
    logits = model.trace(CLEAN).logits
    assert result.clean_score == pytest.approx(lead(model, logits), abs=1e-4)
    assert result.clean_score > 1


# ── path patching ────────────────────────────────────────────────────────────────────────────────────


def test_a_path_is_that_of_its_definition_and_its_receiver_counts():
    """There, everything was frozen, the receiver never read, and a sender of any name had the effect 1.0 (trap 2)."""
    model = common.model("llama")
    asked = {"metric": "logit_diff", "metric_kwargs": {"correct_token": 7, "incorrect_token": 11}}
    metric = metrics.logit_diff([7], [11])
    for hold in (True, False):
        found = path_patching(model, [IDS[0]], [IDS[1]], sender="L0H1", receiver="L2H3", hold_mlps=hold, **asked)
        assert found.receivers == ("q.2.3", "k.2.1", "v.2.1")
        sites = [model.site(name) for name in found.receivers]
        slow = by_hand(model, IDS[::-1], model.site("L0H1"), sites, hold, list(range(8)), metric)
        assert found.score == pytest.approx(slow, abs=2e-5)
        assert found.data["change"] == pytest.approx(slow - found.corrupted_score, abs=2e-5)
    other = path_patching(model, [IDS[0]], [IDS[1]], sender="L0H1", receiver="mlp_out.2", **asked)
    assert other.effect != found.effect
    whole = path_patching(model, [IDS[0]], [IDS[1]], "layers.0.self_attn", "self_attn", receiver_layer=2, **asked)
    assert (whole.senders, whole.receivers) == (("z.0",), ("q.2", "k.2", "v.2"))
    sites = [model.site(name) for name in whole.receivers]
    slow = by_hand(model, IDS[::-1], model.site("z.0"), sites, True, list(range(8)), metric)
    assert whole.score == pytest.approx(slow, abs=2e-5)
    # Frozen are the heads of blocks 1 and 2 and the MLPs of 0 to 2.
    assert whole.data["n_frozen"] == 2 * model.n_heads + 3


def test_without_a_receiver_it_is_the_direct_path_to_the_logits(specimen):
    found = path_patching(specimen, CLEAN, OTHER, "L4H2", metric="logit_diff", metric_kwargs=NAMES)
    plain = by_analysis(
        specimen, CLEAN, OTHER, receivers=["logits"], hold_mlps=True, direction="denoise", answer=" Mary", foil=" John"
    )
    assert found.effect == pytest.approx(next(each.effect for each in plain.senders if each.site == "z.4.2"), abs=1e-6)
    several = path_patching(specimen, CLEAN, OTHER, ["L4H2", "L3H2"], metric="logit_diff", metric_kwargs=NAMES)
    assert several.effect > found.effect
    assert PathEffect.from_json(found.to_json()) == found
    assert found.to_html()
    assert found.metadata["direction"] == "denoise"


def test_the_planted_path_goes_by_the_queries():
    circuit = planted.circuit("names")
    asked = {
        "metric": "logit_diff",
        "metric_kwargs": {"correct_token": int(circuit.answers[0]), "incorrect_token": int(circuit.foils[0])},
    }
    pair = [circuit.prompts[0]], [circuit.corrupted[0]]
    assert path_patching(circuit.model, *pair, "L1H0", "q.2.0", **asked).effect > 0.5
    for nothing in (("L1H0", "k.2.0"), ("L1H0", "v.2.0"), ("L1H1", "L2H0")):
        assert path_patching(circuit.model, *pair, *nothing, **asked).effect == pytest.approx(0, abs=1e-3)
    with pytest.raises(ArgumentError, match="does not compute before"):
        path_patching(circuit.model, *pair, "L2H0", "L1H0", **asked)


@pytest.mark.parametrize(
    ("sender", "receiver", "error", "why"),
    [
        ("nonsense", "L4H2", SiteError, "names no site"),
        ("resid_post.1", "L4H2", ArgumentError, "sends nothing"),
        ("L1H1", "resid_pre.3", ArgumentError, "receives nothing"),
        ([], "L4H2", ArgumentError, "one of them is empty"),
        ("L1H1", "L9H1", SiteError, "beyond the last layer"),
    ],
)
def test_ends_that_are_none(specimen, sender, receiver, error, why):
    with pytest.raises(error, match=why):
        path_patching(specimen, CLEAN, OTHER, sender, receiver)


# ── the causal trace ─────────────────────────────────────────────────────────────────────────────────


def test_patches_of_a_trace_compose(specimen):
    with causal_trace(specimen, CLEAN, OTHER) as ct:
        ct.patch("mlp", layer=3)
        ct.patch("h.4.attn", positions=[-1])
        effect = ct.metric("logit_diff", **NAMES)
    clean = specimen.trace(CLEAN, sites=["mlp_out.3", "attn_out.4"])
    edits = {"mlp_out.3": replace(clean["mlp_out.3"]), "attn_out.4": at(replace(clean["attn_out.4"][:, -1:]), -1)}
    edited = specimen.trace(OTHER, edits=edits)
    torch.testing.assert_close(ct.output, edited.logits, atol=1e-4, rtol=1e-4)
    ends = lead(specimen, ct.corrupted_output), lead(specimen, ct.clean_output)
    assert effect == pytest.approx((lead(specimen, edited.logits) - ends[0]) / (ends[1] - ends[0]), abs=1e-4)
    own = ct.metric(lambda patched, clean, corrupted, k: float((patched - corrupted)[0, k]), k=3)
    assert own == pytest.approx(float(edited.logits[0, -1, 3] - ct.corrupted_output[0, -1, 3]), abs=1e-4)
    assert ct.metric() == ct.metric("l2")
    assert torch.equal(ct.get_clean_activation("mlp", layer=3), clean["mlp_out.3"])


def test_two_patches_of_one_module_are_a_conflict_and_reading_ends_it(specimen):
    """There, the second patch of a module replaced the first one (PT-07)."""
    ct = causal_trace(specimen, CLEAN, OTHER)
    ct.patch("mlp", layer=1)
    with pytest.raises(EditError, match="patched already"):
        ct.patch("h.1.mlp", positions=[3])
    _ = ct.clean_output
    with pytest.raises(EditError, match="read already"):
        ct.patch("mlp", layer=2)
    with pytest.raises(ArgumentError, match="no keyword 'corect_token'"):
        ct.metric("logit_diff", corect_token=3)


def test_the_stream_is_no_empty_patch(specimen):
    ct = causal_trace(specimen, CLEAN, OTHER)
    ct.patch("resid_post", layer=2)
    assert ct.metric("kl") == pytest.approx(1, abs=1e-4)
