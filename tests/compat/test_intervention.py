import dataclasses
import re
import warnings

import pytest
import torch

import tiny
from fluoroscope.compat import intervention
from fluoroscope.compat.intervention import (
    ActivationPatch,
    SteeringVector,
    create_steering_vector,
    patch_and_run,
    steer_generation,
    steering_direction,
)
from fluoroscope.errors import ArgumentError
from fluoroscope.interventions import add, at, replace

POSITIVE, NEGATIVE = ["I am glad", "good"], ["I am sad"]


def state(model, text, reading="last"):
    value = model.trace(text, sites=["resid_post.0"])["resid_post.0"][0]
    return value[-1] if reading == "last" else value[1:].mean(0)


@pytest.mark.parametrize("reading", ["last", "mean"])
def test_the_vector_keeps_its_length_and_says_it(tiny_model, reading):
    vector = create_steering_vector(tiny_model, None, POSITIVE, NEGATIVE, "transformer.h.0", position=reading)
    sides = [torch.stack([state(tiny_model, t, reading) for t in texts]) for texts in (POSITIVE, NEGATIVE)]
    torch.testing.assert_close(vector, sides[0].mean(0) - sides[1].mean(0), rtol=1e-4, atol=1e-5)
    whole = steering_direction(tiny_model, None, POSITIVE, NEGATIVE, 0, position=reading)
    assert whole.norm_ratio == pytest.approx(float(vector.norm() / torch.cat(sides).norm(dim=-1).mean()), rel=1e-4)
    unit = steering_direction(tiny_model, None, POSITIVE, NEGATIVE, 0, normalize=True, position=reading)
    torch.testing.assert_close(unit.vector, vector / vector.norm())
    assert unit.norm_ratio == pytest.approx(whole.norm_ratio / float(vector.norm()), rel=1e-4)


@pytest.mark.filterwarnings("ignore:the steering vector")
@pytest.mark.parametrize("positions", [None, [0, 9]])
def test_steered_text_is_a_steered_generation(tiny_model, positions):
    vector = SteeringVector(torch.linspace(-2, 2, 24), 0, 7.0)  # the coefficient below counts
    text = steer_generation(tiny_model, None, "The", vector, 0, 3.0, max_length=12, positions=positions)
    edit = add(vector.vector, 3.0) if positions is None else at(add(vector.vector, 3.0), positions)
    assert text == "The" + tiny_model.generate("The", max_new_tokens=9, edits={"resid_post.0": edit}).text


def test_a_vector_longer_than_the_stream_is_warned_of_and_a_shorter_one_named(tiny_model):
    found = steering_direction(tiny_model, None, POSITIVE, NEGATIVE, 0)
    for coefficient in (1.01 / found.norm_ratio, -1.01 / found.norm_ratio):
        change = dataclasses.replace(found, coefficient=coefficient)
        with pytest.warns(UserWarning, match=r"is 1\.01 times as long as the stream at layer 0") as told:
            intervention.generated(tiny_model, "The", [change], 3)
        named = float(re.search(r"coefficient=([-\d.e]+) adds [\d.]+ of", str(told[0].message))[1])
        assert 0.25 <= abs(named) * found.norm_ratio <= 0.5
        assert (named > 0) == (coefficient > 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        short = dataclasses.replace(found, coefficient=0.99 / found.norm_ratio)
        intervention.generated(tiny_model, "The", [short], 3)
        intervention.generated(tiny_model, "The", [SteeringVector(found.vector, 0, 99.0)], 3)  # no stream is known


def test_a_vector_of_unknown_origin_is_held_against_the_prompts_own_stream(tiny_model):
    stream = tiny_model.trace("The", sites=["resid_post.0"])["resid_post.0"][0, 1:].norm(dim=-1).mean()
    with pytest.warns(UserWarning, match=r"is 2\.50 times as long as the stream"):
        steer_generation(tiny_model, None, "The", torch.ones(24) / 24**0.5, 0, 2.5 * float(stream), max_length=5)


def test_sampling_is_passed_on_and_seeded(tiny_model):
    vector = torch.linspace(-2, 2, 24)
    texts = [
        steer_generation(tiny_model, None, "The", vector, 0, max_length=30, temperature=2.0, seed=seed, stop_tokens=[])
        for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_patches_give_logits_without_gradients(tiny_model):
    vector = torch.linspace(-2, 2, 24)
    patches = [ActivationPatch(0, -1, vector), ActivationPatch("transformer.h.0", 1, vector, "add")]
    found = patch_and_run(tiny_model, None, tiny.PROMPT, patches)
    edits = {"resid_post.0": [at(replace(vector), -1), at(add(vector), 1)]}
    assert torch.equal(found, tiny_model.trace(tiny.PROMPT, edits=edits).logits)
    assert not found.requires_grad


def test_what_cannot_be_generated_is_said(tiny_model):
    with pytest.raises(ArgumentError, match="max_length counts both"):
        steer_generation(tiny_model, None, "The cat", torch.ones(24), 0, max_length=7)
    with pytest.raises(ArgumentError, match="Did you mean 'temperature'"):
        steer_generation(tiny_model, None, "The", torch.ones(24), 0, temprature=1.0)
    with pytest.raises(ArgumentError, match="Did you mean 'max_new_tokens'"):
        intervention.generated(tiny_model, "The", [], 5, max_tokens=3)
