"""LEACE against what it promises, and against the erasure that a formula of its paper gives."""

import pytest
import torch

from fluoroscope.errors import ArgumentError
from fluoroscope.methods import probes
from fluoroscope.methods.erasure import leace


def states(count=60, width=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(width, width, generator=generator, dtype=torch.float64)
    labels = torch.arange(count) % 3 == 0
    drawn = torch.randn(count, width, generator=generator, dtype=torch.float64) @ mix + 5
    return drawn + labels[:, None] * 3 * torch.randn(width, generator=generator, dtype=torch.float64), labels


@pytest.mark.parametrize(("width", "shrink"), [(8, 0.0), (8, 0.3), (200, 0.0), (200, 0.1)])
def test_no_linear_probe_does_better_than_a_constant(width, shrink):
    x, labels = states(width=width)
    assert float(((probes.logistic(x, labels)(x) > 0) == labels).double().mean()) > 0.95
    erased = leace(x, labels, shrink)(x)
    torch.testing.assert_close(erased[labels].mean(0), erased[~labels].mean(0), rtol=1e-9, atol=1e-9)
    told = probes.logistic(erased, labels, ridge=1e-9)(erased).sigmoid()
    assert float((told - labels.double().mean()).abs().max()) < 1e-3


def test_it_is_the_least_change_of_all_that_erase():
    """Their theorem 4.3, tried: any oblique projection along the mean difference erases as well, and changes more."""
    x, labels = states()
    eraser = leace(x, labels)
    change = (eraser(x) - x).square().sum(-1).mean()
    centred = x - x.mean(0)
    mean = x[labels].mean(0) - x[~labels].mean(0)
    for seed in range(50):
        read = torch.randn(8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        other = (centred @ read)[:, None] * mean / (read @ mean)
        assert float(other.square().sum(-1).mean()) >= float(change) * (1 - 1e-9)
    assert float(change) < float(((centred @ mean)[:, None] * mean / (mean @ mean)).square().sum(-1).mean())


def test_several_classes_are_erased_together_and_dtypes_stay():
    x, _ = states()
    classes = torch.nn.functional.one_hot(torch.arange(60) % 3)
    erased = leace(x, classes)(x)
    for one in range(3):
        torch.testing.assert_close(erased[classes[:, one] == 1].mean(0), erased.mean(0), rtol=1e-8, atol=1e-8)
    assert leace(x, classes)(x.float().reshape(6, 10, 8)).dtype == torch.float32


def test_what_cannot_be_erased_is_refused():
    x, labels = states()
    for concept, message in ((labels[:3], "60 states with 3"), (torch.ones(60), "same label")):
        with pytest.raises(ArgumentError, match=message):
            leace(x, concept)
    with pytest.raises(ArgumentError, match="covary"):
        leace(torch.ones(60, 4), labels)
    with pytest.raises(ArgumentError, match="no share"):
        leace(x, labels, 2.0)
