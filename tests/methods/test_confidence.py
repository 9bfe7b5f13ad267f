"""Student's interval against scipy, and against how often it holds the mean."""

import math

import pytest
import torch
from scipy import stats

from fluoroscope.methods import confidence


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 10, 31, 200])
def test_the_distribution_is_scipys(freedom):
    for t in (0.0, 0.3, 1.0, 2.7, 40.0):
        assert confidence.within(t, freedom) == pytest.approx(2 * stats.t.cdf(t, freedom) - 1, abs=1e-12)
    for level in (0.5, 0.95, 0.999):
        assert confidence.quantile(freedom, level) == pytest.approx(stats.t.ppf((1 + level) / 2, freedom), rel=1e-9)


def test_the_interval_is_scipys():
    values = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    low, high = confidence.interval(values)
    for column in range(3):
        sample = values[:, column].numpy()
        expected = stats.t.interval(0.95, 5, loc=sample.mean(), scale=stats.sem(sample))
        assert (float(low[column]), float(high[column])) == pytest.approx(expected)


def test_it_holds_the_mean_as_often_as_it_says():
    values = torch.randn(4, 20_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 3 + 7
    low, high = confidence.interval(values)
    assert float(((low < 7) & (high > 7)).double().mean()) == pytest.approx(0.95, abs=0.006)


def test_one_sample_tells_nothing():
    low, high = confidence.interval(torch.ones(1, 2))
    assert all(math.isnan(value) for value in (*low.tolist(), *high.tolist()))
