"""What a weight matrix is like: its norms, singular values and rank, its map in blocks, its largest entries.

All in float64, so that a spectral norm is not a matter of the dtype that the weight is stored in.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fluoroscope.errors import ArgumentError, UnavailableError, nearest
from fluoroscope.weights import WEIGHTS

if TYPE_CHECKING:
    from fluoroscope.model import Model

_MOST = 64
"""Matrices of one weight; more are shown one by one."""


@dataclass(frozen=True)
class Addressed:
    """A weight as matrices, and what its address says of them.

    Args:
        address: the canonical one, or the name of a parameter.
        meaning: what it does.
        axes: what rows and columns are, by the names of `WEIGHTS`; "row" and "column" where nothing is known but the
            order in which Hugging Face stores them, "" for the one row of a vector.
        matrices: address -> matrix: one, or one per head, expert or other first index.
    """

    address: str
    meaning: str
    axes: tuple[str, str]
    matrices: dict[str, Tensor]


def addressed(model: "Model", name: str) -> Addressed:
    """The weight at an address of the vocabulary in any spelling, or at the name of a parameter of the model.

    Raises:
        ArgumentError: no such weight or parameter, or too many matrices at once.
        UnavailableError: this model does not hold it as exact matrices, or has no such bias.
    """
    parameters = dict(model.hf.named_parameters(remove_duplicate=False))
    base, _, index = name.rpartition(".")
    if name in parameters:
        return _stored(name, parameters[name], None)
    if base in parameters and index.isdecimal():
        return _stored(base, parameters[base], int(index))
    try:
        kind, layer, unit = model.weights.parse(name)
    except ArgumentError as error:
        if any(known.startswith(f"{name.partition('.')[0]}.") for known in parameters):
            raise ArgumentError(f"the model has no parameter {name!r}", nearest(name, parameters)) from error
        raise
    address = ".".join(str(part) for part in (kind, layer, unit) if part is not None)
    value = model.weights[address]
    axes = ["", *WEIGHTS[kind].axes[-value.dim() :]]
    return Addressed(address, WEIGHTS[kind].meaning, (axes[-2], axes[-1]), _matrices(address, value))


def _stored(name: str, parameter: Tensor, index: int | None) -> Addressed:
    plain = type(parameter) in (nn.Parameter, Tensor) and parameter.is_floating_point() and parameter.itemsize > 1
    if not plain:
        raise UnavailableError(
            f"{name} is stored as {type(parameter).__name__} {parameter.dtype}, not as plain numbers",
            "Load the model without quantization to read its weights.",
        )
    value = parameter.detach()
    if value.dim() > 2:
        value = value.reshape([size for size in value.shape if size > 1])  # the kernels of a depthwise convolution
    count = len(value) if value.dim() == 3 else 1
    if value.dim() > 3 or (index is not None and (value.dim() < 3 or index >= count)):
        raise ArgumentError(f"{name} has shape {list(parameter.shape)}, which has no such matrix", f"It has {count}.")
    if index is None and count > _MOST:
        raise ArgumentError(f"{name} is {count} matrices", f"Name one of them, such as {name}.0.")
    address = name if index is None else f"{name}.{index}"
    axes = ("row" if value.dim() > 1 else "", "column")
    matrices = _matrices(address, value if index is None else value[index])
    return Addressed(address, "as Hugging Face stores it", axes, matrices)


def _matrices(address: str, value: Tensor) -> dict[str, Tensor]:
    if value.dim() == 3:
        return {f"{address}.{place}": matrix for place, matrix in enumerate(value)}
    return {address: value.reshape(-1, value.shape[-1]) if value.dim() else value.reshape(1, 1)}


@dataclass(frozen=True)
class Described:
    """One matrix.

    Args:
        shape: rows and columns.
        frobenius: root of the sum of all squares.
        rms: root mean square of the entries.
        values: all singular values, largest first.
        map: in blocks.
        largest: the entries that are largest in size.
    """

    shape: tuple[int, int]
    frobenius: float
    rms: float
    values: Float[Tensor, "rank"]
    map: "BlockMap"
    largest: list[tuple[int, int, float]]


def described(matrix: Float[Tensor, "rows columns"], cells: int, count: int) -> Described:
    """What a matrix is like, its map of at most `cells` x `cells` blocks, and so many of its largest entries."""
    frobenius = float(matrix.double().norm())
    return Described(
        shape=(matrix.shape[0], matrix.shape[1]),
        frobenius=frobenius,
        rms=frobenius / matrix.numel() ** 0.5,
        values=singular_values(matrix),
        map=blocks(matrix, cells),
        largest=largest(matrix, count),
    )


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
