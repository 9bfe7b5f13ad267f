"""Student's interval against scipy, and against how often it holds the mean."""

import math
from math import sqrt
from statistics import NormalDist

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
    found, *ends = confidence.ratio(torch.ones(1, 2), torch.full((1,), 2.0))
    assert found.tolist() == [0.5, 0.5]
    for end in (*confidence.interval(torch.ones(1, 2)), *ends):
        assert all(math.isnan(value) for value in end.tolist())


def test_a_ratio_over_one_and_the_same_is_a_mean():
    values = torch.randn(6, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found, low, high = confidence.ratio(values, torch.full((6,), -4.0, dtype=torch.float64))
    assert torch.allclose(found, (values / -4).mean(0))
    for mine, expected in zip((low, high), confidence.interval(values / -4), strict=True):
        assert torch.allclose(mine, expected)


def test_a_ratio_is_the_weighted_mean_and_spreads_as_the_jackknife_says():
    generator = torch.Generator().manual_seed(3)
    below = 10 + torch.randn(40, generator=generator, dtype=torch.float64)
    values = 0.3 * below + torch.randn(40, generator=generator, dtype=torch.float64)
    found, low, high = confidence.ratio(values[:, None], below)
    assert float(found) == pytest.approx(float((values / below * below).sum() / below.sum()))
    left_out = torch.stack([(values.sum() - v) / (below.sum() - b) for v, b in zip(values, below, strict=True)])
    spread = float(((left_out - left_out.mean()) ** 2).sum() * 39 / 40) ** 0.5
    reach = stats.t.ppf(0.975, 39) * spread
    assert (float(low), float(high)) == pytest.approx((float(found) - reach, float(found) + reach), abs=0.02 * reach)


def test_the_interval_of_a_ratio_holds_it_as_often_as_it_says():
    generator = torch.Generator().manual_seed(4)
    held = []
    for _ in range(2000):
        below = 8 + 2 * torch.randn(12, generator=generator, dtype=torch.float64)
        above = 0.3 * below[:, None] + torch.randn(12, 10, generator=generator, dtype=torch.float64)
        _, low, high = confidence.ratio(above, below)
        held.append(((low < 0.3) & (high > 0.3)).double().mean())
    assert float(torch.stack(held).mean()) == pytest.approx(0.95, abs=0.01)


def test_wilsons_interval_is_where_the_score_test_stops_rejecting():
    z = NormalDist().inv_cdf(0.975)
    for mean, count in ((0.3, 10), (0.8, 70), (0.5, 2)):
        for end in confidence.share(mean, count):
            assert abs(mean - end) == pytest.approx(z * sqrt(end * (1 - end) / count))
    assert confidence.share(1.0, 2) == pytest.approx((0.3424, 1.0), abs=1e-4)
    assert confidence.share(0.0, 2)[0] == 0.0


def test_newcombes_interval_is_that_of_his_paper():
    """Table II, example (a): 56 of 70 less 48 of 80; and nothing against all of ten (e)."""
    assert confidence.difference((56 / 70, 70), (48 / 80, 80)) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert confidence.difference((1.0, 10), (0.0, 10)) == pytest.approx((0.6075, 1.0), abs=5e-5)
    low, high = confidence.difference((0.25, 4), (0.5, 9))
    assert (-high, -low) == pytest.approx(confidence.difference((0.5, 9), (0.25, 4)))
