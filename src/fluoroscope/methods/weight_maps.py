"""What a weight matrix is like: its norms, singular values and rank, its map in blocks, its largest entries.

All in float64, so that a spectral norm is not a matter of the dtype that the weight is stored in.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


def singular_values(matrix: Float[Tensor, "rows columns"]) -> Float[Tensor, "rank"]:
    """All singular values, largest first."""
    wide = matrix.double()
    tall = wide if wide.shape[0] >= wide.shape[1] else wide.T
    if tall.shape[0] > 2 * tall.shape[1]:  # an embedding's table: its triangular factor has the same ones
        tall = torch.linalg.qr(tall, mode="r").R
    return torch.linalg.svdvals(tall)


def effective_rank(values: Float[Tensor, "rank"]) -> float | None:
    """The exponential of the entropy of the singular values as shares; None where all are zero.

    Between 1 (one direction) and the number of values (all alike): Roy & Vetterli 2007, "The Effective Rank".
    """
    total = values.sum()
    return None if total == 0 else float(torch.special.entr(values / total).sum().exp())


@dataclass(frozen=True)
class BlockMap:
    """A matrix in blocks of nearly equal size.

    Args:
        rows, columns: first index of each block.
        means: of the signed entries of each block.
        extremes: the entry of each block that is largest in size, with its sign.
    """

    rows: list[int]
    columns: list[int]
    means: Float[Tensor, "row_block column_block"]
    extremes: Float[Tensor, "row_block column_block"]


def blocks(matrix: Float[Tensor, "rows columns"], most: int) -> BlockMap:
    """The matrix as at most `most` x `most` blocks; no finer than its entries."""
    bands = matrix.tensor_split(min(most, matrix.shape[0]), 0)
    cells = [[block.double() for block in band.tensor_split(min(most, matrix.shape[1]), 1)] for band in bands]
    return BlockMap(
        rows=list(_starts([len(row[0]) for row in cells])),
        columns=list(_starts([block.shape[1] for block in cells[0]])),
        means=torch.stack([torch.stack([block.mean() for block in row]) for row in cells]),
        extremes=torch.stack([torch.stack([block.flatten()[block.abs().argmax()] for block in row]) for row in cells]),
    )


def _starts(sizes: list[int]) -> Iterator[int]:
    start = 0
    for size in sizes:
        yield start
        start += size


def largest(matrix: Float[Tensor, "rows columns"], count: int) -> list[tuple[int, int, float]]:
    """Row, column and value of the entries that are largest in size, largest first; the earlier of equals first."""
    flat = matrix.flatten()
    order = flat.abs().topk(min(count, len(flat))).indices
    found = [(*divmod(int(place), matrix.shape[1]), float(flat[place])) for place in order]
    return sorted(found, key=lambda entry: (-abs(entry[2]), entry[:2]))
