"""How sure the mean of a few independent measurements is: Student's interval (Student 1908)."""

from functools import cache
from math import atan, cos, pi, sin, sqrt

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
