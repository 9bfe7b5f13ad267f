"""Probes against scikit-learn's, and on states of which what can be known is known."""

import pytest
import torch

from fluoroscope.errors import ArgumentError
from fluoroscope.methods import probes


def states(shift=2.0, count=80, width=6):
    generator = torch.Generator().manual_seed(4)
    labels = torch.rand(count, generator=generator) < 0.4
    x = torch.randn(count, width, generator=generator, dtype=torch.float64) * 3 + 7
    x[:, 2] += shift * labels
    return x, labels


def test_the_logistic_probe_is_scikit_learns():
    linear = pytest.importorskip("sklearn.linear_model")
    x, labels = states()
    centred = x - x.mean(0)
    scale = float(centred.square().sum(-1).mean().sqrt())
    strength = 1 / (probes.RIDGE * len(x))
    told = linear.LogisticRegression(C=strength, tol=1e-10, max_iter=10_000).fit((x / scale).numpy(), labels.numpy())
    probe = probes.logistic(x, labels)
    expected = torch.tensor(told.decision_function((x / scale).numpy()))
    torch.testing.assert_close(probe(x), expected, rtol=1e-4, atol=1e-4)


def test_the_mean_difference_has_its_threshold_halfway():
    x, labels = states()
    probe = probes.mean_difference(x, labels)
    one, other = x[labels].mean(0), x[~labels].mean(0)
    assert float(probe((one + other) / 2)) == pytest.approx(0, abs=1e-9)
    assert float(probe(one)) == pytest.approx(float((one - other).square().sum() / 2))


def test_a_probe_behind_leace_reads_what_leace_left():
    x, labels = states(shift=6.0)
    probe = probes.erased(x, labels)
    told = probe(x)
    assert float(told.max() - told.min()) < 1e-5
    assert float(told[0].sigmoid()) == pytest.approx(float(labels.double().mean()), abs=1e-3)


def test_held_out_states_were_not_fitted_to():
    """A probe that learns its states by heart knows nothing of others; where there is something to know, it does."""
    folds = probes.stratified(torch.arange(40) % 2 == 0, 5)
    assert sorted(state for fold in folds for state in fold) == list(range(40))
    assert all(sum(state % 2 for state in fold) == 4 for fold in folds)
    noise = torch.randn(40, 100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.arange(40) % 2 == 0
    by_heart = probes.logistic(noise, labels)
    assert bool(((by_heart(noise) > 0) == labels).all())
    assert 0.2 < float(probes.held_out(noise, labels, probes.logistic, folds).double().mean()) < 0.8
    noise[:, 0] += 30 * labels
    assert bool(probes.held_out(noise, labels, probes.logistic, folds).all())


def test_shuffled_labels_go_neither_with_the_true_ones_nor_against_them():
    labels = torch.arange(40) < 20
    other = probes.shuffled(labels, 1)
    assert int(other.sum()) == 20
    assert int((other & labels).sum()) == 10
    assert not torch.equal(other, probes.shuffled(labels, 2))
    assert torch.equal(other, probes.shuffled(labels, 1))


def test_one_class_and_too_many_folds_are_refused():
    for fit in (probes.logistic, probes.mean_difference):
        with pytest.raises(ArgumentError, match="both classes"):
            fit(torch.ones(4, 2), torch.ones(4, dtype=torch.bool))
    with pytest.raises(ArgumentError, match="Give 2 to 3"):
        probes.stratified(torch.arange(9) < 3, 4)
