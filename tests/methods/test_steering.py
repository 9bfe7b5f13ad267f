import pytest
import torch

import tiny
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import steering
from fluoroscope.sites import Site

SITE = Site("resid_post", 1)


def states(model, text):
    return model.trace(text, sites=[SITE])[SITE][0].double()


@pytest.mark.parametrize("reading", ["last", "mean"])
def test_the_direction_is_the_difference_of_the_mean_states(tiny_model, reading):
    def read(text):
        return states(tiny_model, text)[-1] if reading == "last" else states(tiny_model, text)[1:].mean(0)

    positive, negative = ["good", "great day"], ["bad"]
    found = steering.direction(tiny_model, positive, negative, SITE, reading)
    expected = (read("good") + read("great day")) / 2 - read("bad")
    torch.testing.assert_close(found.vector.double(), expected, rtol=1e-5, atol=1e-6)
    norms = [float(read(text).norm()) for text in (*positive, *negative)]
    assert found.stream == pytest.approx(sum(norms) / 3)
    assert found.ratio == pytest.approx(float(expected.norm()) / (sum(norms) / 3), rel=1e-5)


def test_a_text_of_one_token_is_its_own_mean(tiny_model):
    found = steering.direction(tiny_model, ["a"], ["b"], SITE, "mean")
    expected = states(tiny_model, "a")[0] - states(tiny_model, "b")[0]
    torch.testing.assert_close(found.vector.double(), expected, rtol=1e-5, atol=1e-6)


def test_what_gives_no_direction_is_refused(tiny_model):
    for positive, negative in (([], ["a"]), (["a"], []), ("abc", ["a"])):
        with pytest.raises(ArgumentError, match="texts on both sides"):
            steering.direction(tiny_model, positive, negative, SITE)
    with pytest.raises(ArgumentError, match="same mean state"):
        steering.direction(tiny_model, [tiny.PROMPT], [tiny.PROMPT], SITE)
    with pytest.raises(ArgumentError, match="no vector per token"):
        steering.direction(tiny_model, ["a"], ["b"], Site("pattern", 0))
