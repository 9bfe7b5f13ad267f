"""How much of what one head writes another head reads, by their weights: Q-, K- and V-composition.

The score of two heads is the Frobenius norm of the product of their circuits over the product of the norms (Elhage et
al. 2021, "A Mathematical Framework for Transformer Circuits"). A circuit is replaced by a factor of d_head rows that
has the same products, so no d_model x d_model matrix is ever built.
"""

from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope.methods.head_circuits import centred, reads, writes

if TYPE_CHECKING:
    from fluoroscope.model import Model

Kind = Literal["q", "k", "v"]
KINDS: tuple[Kind, ...] = ("q", "k", "v")
"""Through the queries, the keys or the values of the later head."""


def directions(model: "Model") -> int:
    """Those of the stream that heads read: all, or all but the mean."""
    return model.d_model - (1 if centred(model) else 0)


def chance(model: "Model") -> float:
    """The root mean square score of any two circuits that are turned against each other at random.

    Exactly 1 / sqrt(n), whatever their singular values, where n is the number of directions of the stream that are
    read: E |A U B|^2 = |A|^2 |B|^2 / n over all rotations U.
    """
    return directions(model) ** -0.5


def leeway(factors: Float[Tensor, "head rows columns"], directions: int) -> Float[Tensor, "head"]:
    """How much room each circuit leaves to chance: the product of those of two circuits is the standard deviation of
    their squared score over all rotations of one against the other.

    Exact, by Var tr(X U Y U^T) = 2 / ((n - 1) (n + 2)) (tr X^2 - (tr X)^2 / n) (tr Y^2 - (tr Y)^2 / n) for symmetric X
    and Y. A circuit of many equal singular values leaves little, one of a single direction most; NaN for one of zeros.

    Args:
        factors: what stands for the circuits, from `sender` or `receiver`.
    """
    short = factors if factors.shape[-2] <= factors.shape[-1] else factors.mT
    gram = short @ short.mT
    purity = gram.square().sum((-2, -1)) / gram.diagonal(dim1=-2, dim2=-1).sum(-1).square()
    n = max(directions, 2)
    return (purity - 1 / n).clamp_min(0).sqrt() * (2 / ((n - 1) * (n + 2))) ** 0.25


def sender(model: "Model", layer: int) -> Float[Tensor, "head d_head d_model"]:
    """What stands for W_V W_O: all that multiplies it from the right gives a product of the same norm."""
    return torch.linalg.qr(reads(model, layer, "V"), mode="r").R @ writes(model, layer)


def receiver(model: "Model", layer: int, kind: Kind) -> Float[Tensor, "head d_model d_head"]:
    """What stands for W_Q W_K^T (q), W_K W_Q^T (k) or W_V W_O (v), multiplied from the left.

    Rotary positions are left out: queries and keys meet as they do at one and the same token.

    Raises:
        UnavailableError: queries and keys are not linear in the stream, or have no matrix of their own.
    """
    if kind == "v":
        return reads(model, layer, "V") @ torch.linalg.qr(writes(model, layer).mT, mode="r").R.mT
    queries, keys = reads(model, layer, "Q"), reads(model, layer, "K")
    read, other = (queries, keys) if kind == "q" else (keys, queries)
    return read @ torch.linalg.qr(other, mode="r").R.mT


def scores(
    senders: Float[Tensor, "earlier d_head d_model"], receivers: Float[Tensor, "later d_model d_head"]
) -> Float[Tensor, "earlier later"]:
    """|sender @ receiver| / (|sender| |receiver|) of every pair, from 0 to 1; NaN where one of them is zero."""
    earlier, later = len(senders), len(receivers)
    product = senders.flatten(0, 1) @ receivers.movedim(0, 1).flatten(1)
    norms = product.unflatten(1, (later, -1)).unflatten(0, (earlier, -1)).square().sum((1, 3)).sqrt()
    return norms / (senders.flatten(1).norm(dim=-1)[:, None] * receivers.flatten(1).norm(dim=-1))
