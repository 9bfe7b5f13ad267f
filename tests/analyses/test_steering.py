"""On the embedded model, where the answer to a feeling is known, and against the method on the small one."""

from itertools import pairwise

import pytest
import torch

from fluoroscope import load
from fluoroscope.analyses.steering import steering
from fluoroscope.errors import ArgumentError
from fluoroscope.interventions import add
from fluoroscope.methods import directions
from fluoroscope.sites import Site
from fluoroscope.tasks import contrasts


@pytest.fixture(scope="module")
def specimen():
    return load()


def test_the_feeling_moves_monotonically_at_the_best_layer_with_its_price_beside(specimen):
    found = steering(specimen, "Today I feel", layers=[1, 3, 4], steps=3, max_new_tokens=8)
    best = found.layers[found.best]
    odds = [point.log_odds for point in best.points]
    assert best.monotone
    assert best.site != "resid_post.1"  # feelings are not there yet
    assert all(low < high for low, high in pairwise(odds))
    assert odds[0] < -5 < 5 < odds[-1]
    words = contrasts.EMBEDDED["sentiment"]
    assert best.points[0].says.startswith(words.foil)
    assert best.points[-1].says.startswith(words.target)
    assert [point.kl for point in best.points][3] == pytest.approx(0, abs=1e-6)
    assert all(0.01 < point.kl <= found.limit for point in (best.points[0], best.points[-1]))
    assert all(point.perplexity >= 1 for point in best.points)
    assert best.swing == pytest.approx(odds[-1] - odds[0])
    early = found.layers[0]
    assert early.swing < 0.1 * best.swing
    assert f"works best at {best.site}" in found.summary()
    assert "behind the last block" not in found.summary()
    shallow = found.model_copy(update={"blocks": int(best.site.split(".")[1]) + 1})
    assert f"{best.site}, behind the last block, where nothing but the logits reads it" in shallow.summary()
    assert "rising at every step" in found.summary()
    assert "and 9 more" in found.summary()


def test_a_limit_leaves_strong_coefficients_out(specimen):
    found = steering(specimen, "Today I feel", layers=[4], steps=2, limit=0.1, max_new_tokens=2)
    (layer,) = found.layers
    held = [point.log_odds for point in layer.points if point.kl <= 0.1]
    assert 1 < len(held) < len(layer.points)
    assert layer.swing == pytest.approx(held[-1] - held[0])


def test_numbers_are_those_of_a_plain_edited_run(tiny_model, tmp_path):
    text = tmp_path / "neutral.txt"
    text.write_text("abc def\n\nghi", encoding="utf8")
    given = {"positive": ["good", "day"], "negative": ["bad", "x"], "target": "Q", "foil": "a|b"}
    found = steering(tiny_model, "why", **given, layers=[0], steps=1, strongest=2.0, max_new_tokens=2, text=str(text))
    direction = directions.direction(tiny_model, given["positive"], given["negative"], Site("resid_post", 0))
    log_p = tiny_model.trace("why", edits={"resid_post.0": add(direction.vector, 2.0)}).logits[0, -1].log_softmax(-1)
    target, foil = (torch.tensor([tiny_model.single_token(c) for c in words]) for words in ("Q", "ab"))
    expected = float(log_p[target].logsumexp(0) - log_p[foil].logsumexp(0))
    assert found.layers[0].points[-1].log_odds == pytest.approx(expected, abs=1e-4)
    assert [point.coefficient for point in found.layers[0].points] == [-2, 0, 2]
    assert found.neutral_tokens == 10
    assert found.texts == directions.sides(given["positive"], given["negative"]).digest
    path = str(direction.save(tmp_path / "own.safetensors"))
    kept = steering(
        tiny_model, "why", vector=path, target="Q", foil="a|b", steps=1, strongest=2.0, max_new_tokens=2, text=str(text)
    )
    assert kept.layers == found.layers


def test_nothing_to_steer_with_is_refused(tiny_model):
    for wrong in ({"steps": 0}, {"strongest": -1.0}, {"limit": 0.0}, {"max_new_tokens": 0}):
        with pytest.raises(ArgumentError, match="steers nothing"):
            steering(tiny_model, "a", **wrong)
    assert len(contrasts.NEUTRAL) == 5
