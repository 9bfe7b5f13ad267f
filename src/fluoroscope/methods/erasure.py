"""LEACE: the smallest affine change after which no linear probe can tell a concept from the states.

Belrose et al. 2023, "LEACE: Perfect linear concept erasure in closed form". Exact on the states that it was fitted to:
their covariance with the concept is zero afterwards, so that no linear probe does better on them than a constant.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope.errors import ArgumentError


@dataclass(frozen=True, eq=False)
class Eraser:
    """x - (x - mean) @ read.T @ write.T: what it reads of a state it takes away.

    Args:
        mean: of the states that it was fitted to, in float64.
    """

    mean: Float[Tensor, "d_model"]
    read: Float[Tensor, "rank d_model"]
    write: Float[Tensor, "d_model rank"]

    def __call__(self, value: Float[Tensor, "*any d_model"]) -> Float[Tensor, "*any d_model"]:
        """The value without the concept, in its own dtype: an intervention as well."""
        wide = value.double()
        taken = (wide - self.mean.to(wide)) @ self.read.T.to(wide) @ self.write.T.to(wide)
        return (wide - taken).to(value.dtype)


def leace(
    states: Float[Tensor, "state d_model"], concept: Float[Tensor, "state *label"], shrink: float = 0.0
) -> Eraser:
    """The eraser of a concept that some states have.

    Args:
        states: fitted to in float64.
        concept: a number each (0 and 1 for two classes), or several (one-hot for more).
        shrink: how far the states' covariance is moved towards a ball of its mean variance before it says which change
            is small: erasure stays exact, and the change generalises better where there are fewer states than axes.

    Raises:
        ArgumentError: no two states, other numbers of both, a concept that does not vary or that the states do not
            covary with, or a share beyond 0 to 1.
    """
    x, z = states.double(), concept.double().reshape(len(concept), -1)
    if len(x) != len(z) or len(x) < 2:
        raise ArgumentError(f"{len(x)} states with {len(z)} labels", "Give two states or more and a label for each.")
    if not 0 <= shrink <= 1:
        raise ArgumentError(f"shrink={shrink} is no share", "Give a number from 0 to 1.")
    mean = x.mean(0)
    x, z = x - mean, z - z.mean(0)
    if not bool((z.abs() > 0).any()):
        raise ArgumentError("all states have the same label, so there is nothing to erase", "Give both classes.")
    covariance, cross = x.T @ x / len(x), x.T @ z / len(x)
    ball = torch.eye(x.shape[1], dtype=x.dtype, device=x.device) * covariance.diagonal().mean()
    values, axes = torch.linalg.eigh((1 - shrink) * covariance + shrink * ball)
    kept = values > values.max() * x.shape[1] * torch.finfo(x.dtype).eps
    values, axes = values[kept], axes[:, kept]
    whiten, colour = axes / values.sqrt() @ axes.T, axes * values.sqrt() @ axes.T
    basis, sizes, _ = torch.linalg.svd(whiten @ cross, full_matrices=False)
    basis = basis[:, sizes > sizes.max() * len(x) * torch.finfo(x.dtype).eps]
    if not basis.shape[1]:
        raise ArgumentError("the states do not covary with the concept, so nothing is to be erased", "Look elsewhere.")
    return Eraser(mean, basis.T @ whiten, colour @ basis)
