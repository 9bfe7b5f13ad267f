"""Statistics of very many values in little memory, batch after batch: moments, quantiles, and the largest ones.

None depends on how the values are cut into batches (moments up to float64 rounding).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, log

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

ERROR = 0.02
"""Relative error of `Quantiles`, at most; values below `FLOOR` in size count as 0, those above `CEILING` as it."""
FLOOR, CEILING = 1e-4, 1e5

_GAMMA = (1 + ERROR) / (1 - ERROR)
_BINS = ceil(log(CEILING / FLOOR) / log(_GAMMA))


class Moments:
    """Mean, variance, extremes and the share above zero, per unit (Chan et al. 1983, "Algorithms for Computing the
    Sample Variance").
    """

    def __init__(self, units: int, device: torch.device) -> None:
        self.count = 0
        self.mean, self._squares, self._above = (
            torch.zeros(units, dtype=torch.float64, device=device) for _ in range(3)
        )
        self.maximum, self.minimum = (
            torch.full((units,), sign * torch.inf, dtype=torch.float64, device=device) for sign in (-1, 1)
        )

    def update(self, values: Float[Tensor, "sample unit"]) -> None:
        wide, n = values.double(), len(values)
        mean = wide.mean(0)
        shift, total = mean - self.mean, self.count + n
        self._squares += (wide - mean).square().sum(0) + shift.square() * (self.count * n / total)
        self.mean = self.mean + shift * (n / total)
        self._above += (wide > 0).sum(0)
        self.maximum = torch.maximum(self.maximum, wide.amax(0))
        self.minimum = torch.minimum(self.minimum, wide.amin(0))
        self.count = total

    @property
    def deviation(self) -> Float[Tensor, "unit"]:
        """Standard deviation of the values themselves, no estimate of a larger population's."""
        return (self._squares / self.count).sqrt()

    @property
    def above(self) -> Float[Tensor, "unit"]:
        """Share of the values above zero."""
        return self._above / self.count


class Quantiles:
    """Any quantile per unit, from counts in bins whose edges grow by a fixed factor.

    A quantile is the value of rank floor(q (n - 1)), found within `ERROR` of its size (Masson et al. 2019,
    "DDSketch"); here the bins are fixed, from `FLOOR` to `CEILING` on either side of zero.
    """

    def __init__(self, units: int, device: torch.device) -> None:
        self._counts = torch.zeros(units, 2 * _BINS + 1, dtype=torch.int64, device=device)

    def update(self, values: Float[Tensor, "sample unit"]) -> None:
        units, bins = self._counts.shape
        size = values.double().abs().div_(FLOOR).clamp_min_(1.0)
        place = size.log_().div_(log(_GAMMA)).ceil_().clamp_max_(_BINS).long()
        place = _BINS + torch.where(values < 0, -place, place)
        place += torch.arange(units, device=values.device) * bins
        self._counts += place.flatten().bincount(minlength=units * bins).view(units, bins)

    def at(self, q: float) -> Float[Tensor, "unit"]:
        """The quantile of every unit, 0 ≤ q ≤ 1."""
        reached = self._counts.cumsum(-1)
        rank = int(q * (int(reached[0, -1]) - 1))
        place = (reached <= rank).sum(-1) - _BINS
        size = 2 * FLOOR * _GAMMA ** place.abs().double() / (1 + _GAMMA)
        return torch.where(place == 0, 0.0, size * place.sign())


@dataclass
class Largest:
    """The passages in which each unit is largest, with what it does around that peak.

    Of equal values the earlier text wins, within a passage and between passages.

    Args:
        k: how many passages to keep per unit.
        window: how many slots to keep on each side of a peak.
        values: the peaks, largest first; -inf where there are fewer than k passages.
        passage: index of the passage; -1 where there is none.
        slot: in which slot of it.
        around: the values from `slot - window` to `slot + window`; NaN beyond the passage.
    """

    k: int
    window: int
    values: Float[Tensor, "unit k"] = field(default_factory=lambda: torch.empty(0))
    passage: Int[Tensor, "unit k"] = field(default_factory=lambda: torch.empty(0))
    slot: Int[Tensor, "unit k"] = field(default_factory=lambda: torch.empty(0))
    around: Float[Tensor, "unit k offset"] = field(default_factory=lambda: torch.empty(0))

    def update(
        self, values: Float[Tensor, "row pos unit"], counted: Bool[Tensor, "row pos"], passages: Sequence[int]
    ) -> None:
        """Takes some passages, one per row, with their indices."""
        units = values.shape[-1]
        if self.values.numel() == 0:
            self.values = values.new_full((units, self.k), -torch.inf)
            self.passage, self.slot = (torch.full((units, self.k), -1, device=values.device) for _ in range(2))
            self.around = values.new_full((units, self.k, 2 * self.window + 1), torch.nan)
        peaks, slots = values.masked_fill(~counted[..., None], -torch.inf).max(1)
        index = torch.tensor(passages, device=values.device)[:, None].expand_as(slots)
        # By passage first, then by value, which keeps that order among equals.
        pooled, slot = torch.cat((self.passage, index.T), 1), torch.cat((self.slot, slots.T), 1)
        order = pooled.argsort(dim=1, stable=True)
        peak = torch.cat((self.values, peaks.T), 1)
        order = order.gather(1, torch.sort(peak.gather(1, order), stable=True, dim=1, descending=True).indices)
        order = order[:, : self.k]
        fresh = order >= self.k
        if bool(fresh.any()):
            self.values, self.passage, self.slot = (part.gather(1, order) for part in (peak, pooled, slot))
            kept = self.around.gather(1, order.clamp_max(self.k - 1)[..., None].expand_as(self.around))
            new = self._cut(values, counted, (order - self.k).clamp_min(0))
            self.around = torch.where(fresh[..., None], new, kept)

    def _cut(self, values: Tensor, counted: Tensor, row: Int[Tensor, "unit k"]) -> Float[Tensor, "unit k offset"]:
        """What each unit does around its peaks, were they all in these rows."""
        offsets = torch.arange(-self.window, self.window + 1, device=values.device)
        place = self.slot[..., None] + offsets
        inside = (place >= 0) & (place < values.shape[1])
        row, place = row[..., None], place.clamp(0, values.shape[1] - 1)
        units = torch.arange(values.shape[-1], device=values.device)[:, None, None]
        return values[row, place, units].masked_fill(~(inside & counted[row, place]), torch.nan)
