"""On the embedded model: what it knows of a text can be read, labels without meaning and erased ones cannot."""

import pytest
import torch

from fluoroscope import load
from fluoroscope.analyses.probes import probes
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import confidence
from fluoroscope.methods.directions import states
from fluoroscope.methods.probes import mean_difference, stratified
from fluoroscope.sites import Site
from fluoroscope.tasks import contrasts


def test_harm_is_read_off_and_shuffled_or_erased_labels_are_not():
    found = probes(load(), contrast="refusal", layers=[0, 3])
    early, late = found.layers
    assert late.logistic.share > 0.95
    assert late.mean.share > 0.9
    assert late.logistic.low > 0.85 > late.control.high
    assert late.control.low < found.chance < late.control.high
    assert late.erased.share == pytest.approx(found.chance)
    assert late.selectivity > 0.3
    assert early.logistic.share < late.logistic.share
    assert found.layers[found.best] == late
    assert "behind LEACE 50.0 %" in found.summary()


def test_every_text_is_judged_by_a_probe_that_has_not_seen_it(tiny_model):
    yes, no = ["good", "great", "fine", "nice"], ["bad", "awful", "dull", "poor"]
    found = probes(tiny_model, positive=yes, negative=no, layers=[1], folds=2, shuffles=1, seed=5)
    values = states(tiny_model, [*yes, *no], [Site("resid_post", 1)])[0]
    labels = torch.arange(8) < 4
    right = 0
    for fold in stratified(labels, 2, 5):
        others = [state for state in range(8) if state not in fold]
        probe = mean_difference(values[others], labels[others])
        right += sum(bool(probe(values[state]) > 0) == bool(labels[state]) for state in fold)
    assert found.layers[0].mean.share == right / 8
    assert (found.layers[0].mean.low, found.layers[0].mean.high) == confidence.share(right / 8, 8)
    assert (found.positive, found.negative, found.chance) == (4, 4, 0.5)
    assert contrasts.texts(positive=yes, negative=no).texts.digest == found.texts


def test_too_few_texts_or_controls_are_refused(tiny_model):
    with pytest.raises(ArgumentError, match="folds=5 with 2 texts"):
        probes(tiny_model, positive=["a", "b"], negative=["c", "d"])
    with pytest.raises(ArgumentError, match="no control"):
        probes(tiny_model, shuffles=0)
