"""mlxterp's workflows: each step is its function, about the same tokens; what is called confirmed was checked."""

import re
from functools import partial

import pytest
import torch

import fluoroscope
from architectures import common
from fluoroscope import metrics
from fluoroscope.analyses.attribution_patching import attribution_patching
from fluoroscope.analyses.logit_attribution import logit_attribution
from fluoroscope.errors import ArgumentError, ArtifactError, Cancelled
from fluoroscope.interpretable import workflows
from fluoroscope.interpretable.causal import acdc, activation_patching
from fluoroscope.interpretable.workflows import (
    BehaviorLocalization,
    CircuitDiscovery,
    behavior_localization,
    circuit_discovery,
)
from fluoroscope.methods.ranks import spearman
from fluoroscope.progress import listening
from fluoroscope.render.text import number, share

CLEAN = "When Mary and John went to the store, John gave a drink to"
OTHER = "When Mary and John went to the store, Mary gave a drink to"
IDS = [5, 3, 9, 7, 5, 3, 22, 41], [5, 3, 9, 11, 5, 3, 22, 60]
LEAD = {"metric": "logit_diff", "metric_kwargs": {"correct_token": "#7", "incorrect_token": "#11"}}


@pytest.fixture(scope="module")
def specimen():
    return fluoroscope.load()


@pytest.fixture(scope="module")
def located(specimen):
    return behavior_localization(specimen, CLEAN, OTHER, metric="l2", verbose=False)


@pytest.fixture(scope="module")
def found():
    return circuit_discovery(common.model("llama"), [IDS[0]], [IDS[1]], threshold=0.1, verbose=False, **LEAD)


def test_every_step_of_the_localization_is_its_function(specimen, located):
    assert [name for name, _ in located.steps] == ["dla", "patch_mlp", "patch_attn", "patch_heads"]
    assert located.get_step("dla") == logit_attribution(specimen, CLEAN, target=" Mary", foil=" John", top_k=5)
    for name, component in (("patch_mlp", "mlp"), ("patch_attn", "attn"), ("patch_heads", "attn_head")):
        assert located.get_step(name) == activation_patching(specimen, CLEAN, OTHER, component=component, metric="l2")


def test_heads_keep_their_layer_and_their_number(located):
    """There, they were called idx0 and so on, by the layer's largest effect."""
    assert "idx" not in located.narrative
    (layer, head), effect = located.patch_heads.top_components(1)[0]
    assert f"patch_heads: clean values bring back most in L{layer}H{head} {share(effect)}" in located.narrative


def test_the_attribution_is_about_the_tokens_of_the_metric(specimen):
    """There, it was about a target of its own."""
    words = {"correct_token": " John", "incorrect_token": " the"}
    made = behavior_localization(
        specimen, CLEAN, OTHER, "logit_diff", words, steps=["patch_mlp", "dla"], top_k=2, verbose=False
    )
    assert (made.dla.target, made.dla.foil) == (" John", " the")
    assert [name for name, _ in made.steps] == ["dla", "patch_mlp"]
    assert made.patch_heads is None
    alike = behavior_localization(
        specimen, CLEAN, CLEAN.replace("store", "park"), metric="l2", steps=["dla"], verbose=False
    )
    assert (alike.dla.target, alike.dla.foil) == (" Mary", None)


def test_every_step_of_the_discovery_is_its_function(found):
    model, pair = common.model("llama"), ([IDS[0]], [IDS[1]])
    same = attribution_patching(model, *pair, answer="#7", foil="#11", metric="logit_diff")
    assert found.get_step("attribution") == same
    assert found.get_step("activation") == activation_patching(model, *pair, component="attn_head", **LEAD)
    assert found.get_step("acdc") == acdc(model, *pair, 0.1, **LEAD)
    assert share(found.acdc.faithfulness) in found.narrative


def test_what_was_estimated_is_confirmed_by_numbers(found):
    """There, two steps that were all zero confirmed the first layers."""
    exact = torch.tensor(found.activation.effects, dtype=torch.float64)
    kind = next(kind for kind in found.attribution.kinds if kind.site == "z")
    guessed = torch.tensor(kind.shares, dtype=torch.float64)
    assert exact.abs().max() > 0.01
    assert found.agreement == pytest.approx(spearman(guessed.flatten(), exact.flatten()))
    assert f"over all {exact.numel()} heads the rank correlation is {number(found.agreement)}" in found.narrative
    layer, head = divmod(int(guessed.abs().argmax()), exact.shape[1])
    told = f"L{layer}H{head} {share(guessed[layer, head].item())} estimated, {share(exact[layer, head].item())} patched"
    assert f"checked: {told}" in found.narrative


def test_everything_is_in_json_and_markdown(located, found):
    """There, JSON left the steps out."""
    assert BehaviorLocalization.from_json(located.to_json()) == located
    assert CircuitDiscovery.from_json(found.to_json()) == found
    for result in (located, found):
        page = result.to_markdown()
        assert result.summary() == result.narrative
        assert re.split(r"[‘·]", result.narrative)[0] in page
        for name, step in result.steps:
            assert f"## {name}: {step.views()[0].title.split('‘')[0].strip()}" in page
        assert result.metadata["n_steps"] == len(result.steps) == len(result.data)
        assert result.result_type == "workflow"


def test_what_is_done_is_printed_if_asked_for(capsys):
    made = circuit_discovery(common.model("llama"), [IDS[0]], [IDS[1]], steps=["attribution", "activation"], **LEAD)
    assert " ".join(capsys.readouterr().out.splitlines()) == made.narrative
    assert made.acdc is None


@pytest.mark.parametrize(
    ("workflow", "given", "last", "kept"),
    [
        (behavior_localization, {"top_k": 2}, "patch_heads", ["dla", "patch_mlp", "patch_attn"]),
        (circuit_discovery, {"threshold": 0.1}, "acdc", ["attribution", "activation"]),
    ],
)
def test_a_run_that_was_stopped_goes_on_and_gives_the_same(workflow, given, last, kept, tmp_path, monkeypatch, capsys):
    model, folder, whole = common.model("llama"), tmp_path / "run", tmp_path / "whole"
    asked = partial(workflow, model, [IDS[0]], [IDS[1]], **LEAD, **given)
    expected = asked(verbose=False, resume=str(whole))
    assert asked(verbose=False) == expected

    def stop(label, done, _total):
        return not (label == "workflow" and done == len(kept))

    with listening(stop), pytest.raises(Cancelled) as stopped:
        asked(verbose=False, resume=str(folder))
    so_far = stopped.value.partial
    assert [name for name, _ in so_far.steps] == kept
    assert so_far.missing == 1
    assert so_far.narrative.endswith(f"Not made, as the run was cancelled: {last}.")
    assert {path.stem for path in folder.iterdir()} == {"about", *kept}

    name = "activation_patching"
    calls, real = [], getattr(workflows, name)
    monkeypatch.setattr(workflows, name, lambda *given, **named: calls.append(named) or real(*given, **named))
    assert asked(resume=str(folder)) == expected
    assert [call["component"] for call in calls] == (["attn_head"] if last == "patch_heads" else [])
    assert " ".join(capsys.readouterr().out.splitlines()) == expected.narrative
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.name: path.read_bytes() for path in whole.iterdir()
    }
    with pytest.raises(ArtifactError, match="steps of another run"):
        workflow(model, [IDS[0]], [IDS[1]], verbose=False, resume=str(folder), **LEAD)
    for unnamed in (lambda *_: 0.0, metrics.logit([3])):
        with pytest.raises(ArgumentError, match="functions are not told from one another"):
            workflow(model, [IDS[0]], [IDS[1]], metric=unnamed, resume=str(folder))


def test_the_prompts_are_named(located):
    assert (located.clean, located.corrupted) == ((CLEAN,), (OTHER,))
    assert located.views()[0].rows[0].cells == (CLEAN, OTHER)
    assert located.metadata["clean"] == (CLEAN,)


def test_refusals(specimen, found):
    for workflow, step in ((behavior_localization, "patch_head"), (circuit_discovery, "paths")):
        with pytest.raises(ArgumentError, match=f"no step '{step}'"):
            workflow(specimen, CLEAN, OTHER, steps=[step])
        with pytest.raises(ArgumentError, match="no step was asked for"):
            workflow(specimen, CLEAN, OTHER, steps=[])
    with pytest.raises(ArgumentError, match="names nothing"):
        behavior_localization(specimen, CLEAN, OTHER, top_k=0)
    with pytest.raises(ArgumentError, match="not estimated"):
        circuit_discovery(specimen, CLEAN, OTHER, metric=lambda *_: 0.0, verbose=False)
    with pytest.raises(ArgumentError, match="no step 'adcd'"):
        found.get_step("adcd")
