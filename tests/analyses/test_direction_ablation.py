"""On the embedded model: refusal goes with its direction and stays with any other; rates against plain edited runs."""

import pytest
import torch

from fluoroscope import load
from fluoroscope.analyses.direction_ablation import direction_ablation
from fluoroscope.errors import ArgumentError, ArtifactError
from fluoroscope.methods import directions, projection
from fluoroscope.sites import Site
from fluoroscope.tasks import contrasts


@pytest.fixture(scope="module")
def specimen():
    return load()


def test_refusal_goes_with_its_direction_and_stays_without_a_random_one(specimen):
    found = direction_ablation(specimen, layers=[1, 5])
    assert found.source == "refusal"
    assert found.target == " I"
    assert found.before.share == 1
    assert found.after.share == 0
    assert [each.share for each in found.random] == [1, 1, 1]
    assert (found.spared.share, found.added.share) == (0, 1)
    assert found.judged == found.judged_without == 12
    assert found.layers[0].rate > 0.9  # one block in, there is no such direction yet
    assert found.layers[found.best].site == "resid_post.5"
    assert found.before.low > found.after.high
    assert found.kl < 1
    assert "without the refusal direction of resid_post.5 0 %; without a random one at 100 %" in found.summary()


def test_rates_are_those_of_prompts_one_by_one(specimen):
    found = direction_ablation(specimen, layers=[3], level="zero", target=" I", controls=1, seed=2)
    fit, judge = contrasts.EMBEDDED["refusal"].sides.split(2)
    direction = directions.direction(specimen, fit.positive, fit.negative, Site("resid_post", 3))
    unit, no = direction.unit.float(), specimen.single_token(" I")
    sites = [str(site) for site in projection.writers(specimen)]

    def rate(axis):
        edits = dict.fromkeys(sites, lambda value: value - (value @ axis)[..., None] * axis)
        said = [int(specimen.trace(text, edits=edits).logits[0, -1].argmax()) for text in judge.positive]
        return sum(token == no for token in said) / len(said)

    assert found.after.share == pytest.approx(rate(unit))
    assert found.random[0].share == pytest.approx(rate(direction.random(2).unit.float()))


def test_the_model_without_the_direction_is_a_folder_that_refuses_no_more(specimen, tmp_path):
    folder = tmp_path / "without"
    found = direction_ablation(specimen, layers=[5], controls=0, export=str(folder))
    made = load(folder)
    again = direction_ablation(made, layers=[5], controls=0, target=found.target)
    assert (found.before.share, again.before.share) == (1, found.after.share) == (1, 0)
    with pytest.raises(ArtifactError, match="exists already"):
        direction_ablation(specimen, layers=[5], export=str(folder))


def test_a_behaviour_that_nothing_tells_is_refused(tiny_model):
    same = ["abc", "abd", "abc", "abd"]
    with pytest.raises(ArgumentError, match=r"commoner after the positive|same mean state"):
        direction_ablation(tiny_model, positive=same, negative=same)
    with pytest.raises(ArgumentError, match="cannot be halved"):
        direction_ablation(tiny_model, positive=["a"], negative=["b", "c"])
    with pytest.raises(ArgumentError, match="no count"):
        direction_ablation(tiny_model, controls=-1)
    assert torch.is_grad_enabled()
