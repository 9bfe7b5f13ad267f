"""Directions against states that are read one text at a time, and the files that keep them."""

import pytest
import torch

import tiny
from fluoroscope import load
from fluoroscope.errors import ArgumentError, ArtifactError
from fluoroscope.methods import directions
from fluoroscope.sites import Site

SITES = [Site("resid_post", 0), Site("mlp_out", 1)]
TEXTS = directions.sides(["good", "a great day"], ["bad", "worse"])


def alone(model, text, site):
    return model.trace(text, sites=[site])[site][0].double()


@pytest.mark.parametrize("reading", ["last", "mean"])
def test_every_site_has_the_difference_of_the_mean_states_at_its_natural_length(tiny_model, reading):
    def read(text, site):
        return alone(tiny_model, text, site)[-1] if reading == "last" else alone(tiny_model, text, site)[1:].mean(0)

    for site, found in zip(SITES, directions.directions(tiny_model, TEXTS, SITES, "mean", reading), strict=True):
        sides = [torch.stack([read(text, site) for text in side]) for side in (TEXTS.positive, TEXTS.negative)]
        expected = sides[0].mean(0) - sides[1].mean(0)
        torch.testing.assert_close(found.vector.double(), expected, rtol=1e-5, atol=1e-5)
        assert found.site == site
        assert found.stream == pytest.approx(float(torch.cat(sides).norm(dim=-1).mean()), rel=1e-6)
        assert found.ratio == pytest.approx(float(expected.norm()) / found.stream, rel=1e-4)
        torch.testing.assert_close(found.middle, (sides[0].mean(0) + sides[1].mean(0)) / 2, rtol=1e-5, atol=1e-5)


def test_the_principal_component_finds_an_axis_that_single_pairs_hide():
    generator = torch.Generator().manual_seed(0)
    axis = torch.eye(6, dtype=torch.float64)[2]
    base = torch.randn(40, 6, generator=generator, dtype=torch.float64)
    lengths = 3 + torch.rand(40, 1, generator=generator, dtype=torch.float64)
    noise = 0.3 * torch.randn(40, 6, generator=generator, dtype=torch.float64)
    found = directions.between(base + lengths * axis + noise, base, "pca")
    assert float(found @ axis / found.norm()) > 0.999  # and it points to the positive side
    assert float(found.norm()) == pytest.approx(float(lengths.mean()), rel=0.05)
    with pytest.raises(ArgumentError, match="no pairs"):
        directions.between(base, base[:3] + 1, "pca")


def test_a_file_gives_the_same_direction_back_to_the_same_model_alone(tiny_model, tmp_path):
    found = directions.directions(tiny_model, TEXTS, SITES[:1])[0]
    path = found.save(tmp_path / "good.safetensors")
    back = directions.fitted(tiny_model, path)
    assert torch.equal(back.vector, found.vector)
    assert torch.equal(back.middle, found.middle)
    assert (back.site, back.stream, back.made_of) == (found.site, found.stream, found.made_of)
    assert back.made_of["texts"] == TEXTS.digest
    assert repr(back).startswith("Direction(resid_post.")
    assert len(repr(back)) < 120
    with pytest.raises(ArtifactError, match=r"other weights than those of specimen-llama\. Make it anew"):
        directions.fitted(load("specimen-llama"), path)
    with pytest.raises(ArtifactError, match="holds tuned, not a direction"):
        directions.read(f"{tiny_model.name}/tuned_lens.safetensors")


def test_halves_share_nothing_and_keep_pairs_together():
    texts = directions.sides([f"yes {n}" for n in range(7)], [f"no {n}" for n in range(7)], "numbers")
    fit, judge = texts.split(seed=3)
    assert (len(fit.positive), len(judge.positive)) == (4, 3)
    assert set(fit.positive) | set(judge.positive) == set(texts.positive)
    for half in (fit, judge):
        assert [text.replace("yes", "no") for text in half.positive] == list(half.negative)
    assert texts.split(seed=3) == (fit, judge)
    assert texts.digest != directions.sides(texts.negative, texts.positive).digest
    with pytest.raises(ArgumentError, match="cannot be halved"):
        directions.sides(["a"], ["b", "c"]).split()


def test_a_random_direction_is_as_long_and_elsewhere(tiny_model):
    found = directions.direction(tiny_model, ["good"], ["bad"], SITES[0])
    other = found.random(1)
    assert float(other.vector.norm()) == pytest.approx(float(found.vector.norm()), rel=1e-5)
    assert torch.equal(other.vector, found.random(1).vector)
    assert abs(float(other.unit @ found.unit)) < 0.9
    assert (other.site, other.stream) == (found.site, found.stream)


def test_what_gives_no_direction_is_refused(tiny_model):
    for positive, negative in (([], ["a"]), (["a"], []), ("abc", ["a"])):
        with pytest.raises(ArgumentError, match="texts on both sides"):
            directions.direction(tiny_model, positive, negative, SITES[0])
    with pytest.raises(ArgumentError, match="same mean state"):
        directions.direction(tiny_model, [tiny.PROMPT], [tiny.PROMPT], SITES[0])
    with pytest.raises(ArgumentError, match="no vector per token"):
        directions.direction(tiny_model, ["a"], ["b"], Site("pattern", 0))
