"""What parts do together: each alone, every two, and all, patched at once, and what is not the sum of the parts.

The interaction of two is the effect of both less those of each: 0 where they work apart from one another (the second
order of a Taylor or Möbius expansion of the effect over sets of parts).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope.methods.sweeps import Effects, Part
from fluoroscope.sites import Site


@dataclass(frozen=True)
class Joint:
    """Effects of a group of parts; NaN where a sweep that was cancelled had not come to it.

    Args:
        scores: the metric with both of a pair patched, [part, part]; on the diagonal with one alone.
        together: the metric with all patched.
        shares: `scores` as shares of the way; `share` that of `together`.
    """

    scores: Float[Tensor, "part part"]
    together: float
    shares: Float[Tensor, "part part"]
    share: float

    @property
    def alone(self) -> Float[Tensor, "part"]:
        """The share of each alone."""
        return self.shares.diagonal()

    @property
    def interactions(self) -> Float[Tensor, "part part"]:
        """The share of both less the sum of the shares of each, NaN on the diagonal."""
        alone = self.alone
        found = self.shares - alone[:, None] - alone
        return found.fill_diagonal_(torch.nan)

    @property
    def orders(self) -> tuple[float, float]:
        """What all together would do if nothing interacted, and if nothing but pairs did."""
        first = self.alone.sum()
        return float(first), float(first + self.interactions.triu(1).sum())


def parts(sites: Sequence[Site], positions: tuple[int, ...] | None) -> list[Part]:
    """Each alone, every two, and all at once."""
    groups = [*((site,) for site in sites), *combinations(sites, 2), tuple(sites)]
    return [Part(group, positions) for group in groups]


def joint(found: Effects, count: int) -> Joint:
    """The effects of `parts` of so many sites, for one pair of prompts."""
    one, other = torch.triu_indices(count, count, 1)
    tables: list[Tensor] = []
    for values in (found.scores[:, 0], found.shares[:, 0]):
        table = torch.diag(values[:count])
        table[one, other] = table[other, one] = values[count:-1]
        tables.append(table)
    return Joint(tables[0], float(found.scores[-1, 0]), tables[1], float(found.shares[-1, 0]))
