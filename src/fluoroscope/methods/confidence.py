"""How sure the mean of a few independent measurements is: Student's interval (Student 1908).

And how sure a share is, and the difference of two, where a mean of few samples at an end of the scale has no spread to
judge by: the score intervals of Wilson 1927 and Newcombe 1998.
"""

from functools import cache
from math import atan, cos, hypot, pi, sin, sqrt
from statistics import NormalDist

import torch
from jaxtyping import Float
from torch import Tensor

LEVEL = 0.95


def interval(
    values: Float[Tensor, "sample *rest"], level: float = LEVEL
) -> tuple[Float[Tensor, "*rest"], Float[Tensor, "*rest"]]:
    """The ends of the interval that holds the mean with the given probability; NaN for one sample.

    Exact for samples of a normal distribution, near enough for means of many such as the scores of a seed.
    """
    count, mean = len(values), values.mean(0)
    if count < 2:
        nothing = torch.full_like(mean, torch.nan)
        return nothing, nothing
    reach = values.std(0) * quantile(count - 1, level) / sqrt(count)
    return mean - reach, mean + reach


def ratio(
    values: Float[Tensor, "sample *rest"], of: Float[Tensor, "sample"], level: float = LEVEL
) -> tuple[Float[Tensor, "*rest"], Float[Tensor, "*rest"], Float[Tensor, "*rest"]]:
    """The ratio of two means over the same samples, and the ends of its interval; these are NaN for one sample.

    It is also the mean of the samples' own ratios, each weighted by what it is a ratio of, so that none with next to
    nothing below the line decides it. The interval is Student's of what the ratio leaves of each sample (Cochran 1977,
    "Sampling Techniques", section 6.4): near enough where the mean below the line is sure.
    """
    count, below = len(of), of.mean()
    found = values.mean(0) / below
    if count < 2:
        nothing = torch.full_like(found, torch.nan)
        return found, nothing, nothing
    left = values - of.reshape(-1, *[1] * (values.ndim - 1)) * found
    reach = left.std(0) * quantile(count - 1, level) / sqrt(count) / below.abs()
    return found, found - reach, found + reach


def share(mean: float, count: int, level: float = LEVEL) -> tuple[float, float]:
    """The ends of Wilson's score interval for a share, of which `count` samples of 0 and 1 have this mean.

    For samples between 0 and 1 it is on the safe side: of one mean, those of 0 and 1 alone vary most.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    middle = mean + z**2 / (2 * count)
    reach = z * sqrt(max(0.0, mean * (1 - mean)) / count + (z / (2 * count)) ** 2)
    whole = 1 + z**2 / count
    return max(0.0, (middle - reach) / whole), min(1.0, (middle + reach) / whole)


def difference(one: tuple[float, int], other: tuple[float, int], level: float = LEVEL) -> tuple[float, float]:
    """The ends of Newcombe's interval for the first share less the second, each as its mean and number of samples.

    The samples are independent (Newcombe 1998, "Interval Estimation for the Difference between Independent
    Proportions", method 10).
    """
    (first, _), (second, _) = one, other
    low, high = share(*one, level)
    least, most = share(*other, level)
    apart = first - second
    return apart - hypot(first - low, most - second), apart + hypot(high - first, second - least)


@cache
def quantile(freedom: int, level: float = LEVEL) -> float:
    """The t within which Student's distribution lies with a probability of `level`."""
    low, high = 0.0, 1.0
    while within(high, freedom) < level:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle, freedom) < level else (low, middle)
    return (low + high) / 2


def within(t: float, freedom: int) -> float:
    """The probability that Student's t with so many degrees of freedom is between -t and t.

    The finite sums for whole degrees of freedom (Abramowitz & Stegun 1964, 26.7.3 and 26.7.4).
    """
    angle = atan(t / sqrt(freedom))
    odd = freedom % 2
    term = total = cos(angle) if odd else 1.0
    for k in range(2 + odd, freedom - 1, 2):
        term *= cos(angle) ** 2 * (k - 1) / k
        total += term
    if freedom == 1:
        return 2 * angle / pi
    return 2 / pi * (angle + sin(angle) * total) if odd else sin(angle) * total
