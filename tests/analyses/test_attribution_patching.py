"""The result against plain gradients by hand, against exact patching, and what is refused."""

import pytest
import torch

import fluoroscope
from architectures import common
from fluoroscope.analyses.attribution_patching import AttributionPatching, attribution_patching
from fluoroscope.analyses.head_patching import head_patching
from fluoroscope.errors import ArgumentError, UnavailableError
from fluoroscope.interventions import at, replace

CLEAN = "When Mary and John went to the store, John gave a drink to"
OTHER = "When Mary and John went to the store, Mary gave a drink to"
IDS = [5, 3, 9, 7, 5, 3, 22, 41], [5, 3, 9, 11, 5, 3, 22, 60]


@pytest.fixture(scope="module")
def specimen():
    return fluoroscope.load()


def lead(model, logits):
    return logits[0, -1, model.single_token(" Mary")] - logits[0, -1, model.single_token(" John")]


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_estimates_are_difference_times_gradient_as_shares(specimen, direction):
    result = attribution_patching(specimen, CLEAN, OTHER, answer=" Mary", foil=" John", direction=direction)
    base, donor = (OTHER, CLEAN) if direction == "denoise" else (CLEAN, OTHER)
    run = specimen.trace(base, sites=["z.4", "mlp_out.1"], grad=True)
    given = specimen.trace(donor, sites=["z.4", "mlp_out.1"])
    way = float((lead(specimen, given.logits) - lead(specimen, run.logits)).detach())
    values = [run["z.4"], run["mlp_out.1"]]
    gradients = torch.autograd.grad(lead(specimen, run.logits), values)
    heads, tokens = result.kinds
    assert (heads.site, heads.units, tokens.site, tokens.units) == ("z", True, "mlp_out", False)
    expected = ((given["z.4"] - values[0]) * gradients[0]).sum((0, 1, 3)) / way
    assert torch.allclose(torch.tensor(heads.shares[4]), expected.detach(), atol=1e-5)
    expected = ((given["mlp_out.1"] - values[1]) * gradients[1]).sum(-1)[0] / way
    assert torch.allclose(torch.tensor(tokens.shares[1]), expected.detach(), atol=1e-5)
    assert AttributionPatching.from_json(result.to_json()) == result


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_the_largest_are_patched_in_truth(specimen, direction):
    asked = {"answer": " Mary", "foil": " John", "direction": direction}
    result = attribution_patching(specimen, CLEAN, OTHER, sites=["z"], top_k=6, **asked)
    exact = head_patching(specimen, CLEAN, OTHER, **asked)
    sizes = sorted((abs(value) for row in result.kinds[0].shares for value in row), reverse=True)
    assert [abs(each.estimate) for each in result.checked] == pytest.approx(sizes[:6], rel=1e-5)
    for each in result.checked:
        _, layer, head = each.site.split(".")
        assert each.exact == pytest.approx(exact.effects[int(layer)][int(head)], abs=1e-6)
    assert (result.clean_score, result.corrupted_score) == (exact.clean_score, exact.corrupted_score)
    assert result.checked[0].site == "z.4.2"
    assert result.agreement is not None
    assert result.agreement > 0.8
    assert result.summary().startswith(f"L4H2 {'restores' if direction == 'denoise' else 'destroys'}")


def test_heads_at_each_token_apart(specimen):
    result = attribution_patching(specimen, CLEAN, OTHER, sites=["z", "neurons"], by_position=True, top_k=4)
    heads, neurons = result.kinds
    assert torch.tensor(heads.by_position).shape == (6, 8, 14)
    assert torch.allclose(torch.tensor(heads.by_position).sum(-1), torch.tensor(heads.shares), atol=1e-6)
    assert neurons.by_position is None
    assert {len(row) for row in neurons.shares} == {768}
    first = result.checked[0]
    assert (first.site, first.position) == ("z.4.2", 13)
    value = specimen.trace(CLEAN, sites=["z.4"])["L4H2"][:, 13:]
    score = float(lead(specimen, specimen.trace(OTHER, edits={"L4H2": at(replace(value), 13)}).logits))
    share = (score - result.corrupted_score) / (result.clean_score - result.corrupted_score)
    assert first.exact == pytest.approx(share, abs=1e-5)
    assert [view.title for view in result.views()][1:] == ["Estimates for z"]


def test_the_true_softmax_comes_nearer(specimen):
    asked = {"sites": ["q", "k"], "top_k": 20}
    errors = {}
    for method in ("linear", "softmax"):
        result = attribution_patching(specimen, CLEAN, OTHER, method=method, **asked)
        errors[method] = sum(abs(each.estimate - each.exact) for each in result.checked)
    assert errors["softmax"] < 0.3 * errors["linear"]


@pytest.mark.parametrize("method", ["linear", "softmax", "atp-star", "inputs", "values"])
@pytest.mark.parametrize("case", ["llama", "gemma2", "qwen3", "mixtral", "bloom", "cohere", "opt-350m"])
def test_every_method_on_every_kind_of_family(case, method):
    found = common.model(case)
    kinds = [name for name in ("z", "q", "k", "mlp_out", "resid_pre") if found.sites(name)]
    if method == "atp-star" and case == "opt-350m":
        with pytest.raises(UnavailableError, match="no attention can be dropped"):
            attribution_patching(found, [IDS[0]], [IDS[1]], method=method, sites=["z"])
        return
    result = attribution_patching(
        found, [IDS[0]], [IDS[1]], answer="#7", foil="#11", sites=kinds, method=method, steps=4, top_k=5
    )
    assert [kind.site for kind in result.kinds] == kinds
    assert (result.steps == 4) == (method in ("inputs", "values"))
    assert (result.whole is None) == (case not in ("bloom", "opt-350m"))
    assert len(result.checked) == 5
    assert result.to_markdown()


def test_without_a_check_and_by_distance(specimen):
    result = attribution_patching(specimen, CLEAN, OTHER, top_k=0, metric="kl")
    assert result.checked == ()
    assert result.agreement is None
    assert result.summary().endswith("nothing was checked.")
    assert (result.answer, result.foil) == (None, None)
    moved = attribution_patching(specimen, CLEAN, OTHER, metric="kl", direction="noise", method="inputs", sites=["z"])
    assert moved.checked[0].site == "z.4.2"


@pytest.mark.parametrize(
    ("arguments", "error", "why"),
    [
        ({"corrupted": "When Mary and John went out"}, ArgumentError, "fluoro tokens"),
        ({"corrupted": CLEAN}, ArgumentError, "same tokens"),
        ({"sites": []}, ArgumentError, "no kind of part"),
        ({"sites": ["zz"]}, ArgumentError, r"no kind of part\. Did you mean 'z'\?$"),
        ({"sites": ["router"]}, ArgumentError, "no kind of part"),
        ({"metric": "rank"}, ArgumentError, "rank has no gradient"),
        ({"metric": "kl", "direction": "noise"}, ArgumentError, "no slope"),
        ({"method": "inputs", "steps": 0}, ArgumentError, "0 steps"),
        ({"top_k": -1}, ArgumentError, "top_k=-1"),
        ({"budget": 0}, ArgumentError, "a budget of 0 MB holds nothing"),
    ],
)
def test_refusals(specimen, arguments, error, why):
    with pytest.raises(error, match=why):
        attribution_patching(specimen, **{"clean": CLEAN, "corrupted": OTHER} | arguments)


def test_a_model_without_such_parts_is_refused():
    with pytest.raises(UnavailableError, match="offers z on no block"):
        attribution_patching(common.model("qwen3_next"), [IDS[0]], [IDS[1]])
