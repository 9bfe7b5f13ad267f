"""One reading of many rows: residuals of the last token, and the rows in which each neuron of a layer is largest.

Imports torch alone. Every contestant hands its values of each batch to the same `Kept`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

ROWS, LENGTH, AT_ONCE, LAYER, TOP = 32, 64, 8, 11, 20
"""Rows in all, their tokens, rows a pass, the layer (the last, behind which only the unembedding lies), how many."""

Read = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Ids [row, pos] -> residual of the last token [row, d_model], neurons [row, pos, d_mlp]."""


class Kept:
    """What is left of the rows: the last residuals, and per neuron its largest values with their rows."""

    def __init__(self) -> None:
        self.residuals: list[Tensor] = []
        self.values, self.rows = torch.empty(0), torch.empty(0, dtype=torch.long)

    def update(self, residuals: Tensor, neurons: Tensor, first: int) -> None:
        self.residuals.append(residuals.clone())
        peaks = neurons.amax(1)
        rows = torch.arange(first, first + len(peaks))[:, None].expand_as(peaks)
        if self.values.numel():
            peaks, rows = torch.cat([self.values, peaks]), torch.cat([self.rows, rows])
        self.values, order = peaks.topk(min(TOP, len(peaks)), dim=0)
        self.rows = rows.gather(0, order)


def batches() -> list[Tensor]:
    """Seeded ids, a batch a pass."""
    ids = torch.randint(50257, (ROWS, LENGTH), generator=torch.Generator().manual_seed(0))
    return list(ids.split(AT_ONCE))


def scan(read: Read) -> Kept:
    """Reads all rows once."""
    kept = Kept()
    for number, ids in enumerate(batches()):
        kept.update(*read(ids), number * AT_ONCE)
    return kept


def bare_all(bare: Callable[[Tensor], object]) -> None:
    """The unit: the forward over the same rows in the same batches."""
    for ids in batches():
        bare(ids)


def check(who: str, found: Kept, expected: Kept, tolerance: float = 0.0) -> None:
    """Refuses a contestant that keeps other values.

    Raises:
        SystemExit: with its name.
    """
    mine, reference = torch.cat(found.residuals), torch.cat(expected.residuals)
    for one, other in ((mine, reference), (found.values, expected.values)):
        if float((one - other).abs().max()) > tolerance * float(other.abs().max()):
            raise SystemExit(f"{who} does not keep what plain hooks keep")
