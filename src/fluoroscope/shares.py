"""What each head, each token that a head reads, and each neuron adds to the residual stream, and what belongs to none.

All are linear in their argument: they sum to attn_out or mlp_out, a post-norm frozen at the statistics it has here.
"""

from typing import Literal, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fluoroscope.architectures import Architecture
from fluoroscope.modules import required
from fluoroscope.norms import frozen
from fluoroscope.weights import Weights


class Weighted(Protocol):
    """What has to be known of a model."""

    architecture: Architecture
    blocks: list[nn.Module]

    @property
    def weights(self) -> Weights: ...


def heads(
    model: Weighted, layer: int, z: Float[Tensor, "... head d_head"]
) -> tuple[Float[Tensor, "... head d_model"], Tensor | None]:
    """Each head's share of attn_out, and the share of the biases, which belongs to no head.

    Raises:
        UnavailableError: W_O of this layer cannot be read exactly.
    """
    weight = model.weights[f"W_O.{layer}"]
    return _attention(model, layer, torch.einsum("...hd,hdm->...hm", z.to(weight.dtype), weight))


def sources(
    model: Weighted, layer: int, pattern: Float[Tensor, "head key"], v: Float[Tensor, "kv_head key d_head"]
) -> tuple[Float[Tensor, "head key d_model"], Tensor | None]:
    """Each head's share of attn_out at one position, split by the token it was read from; and that of no head.

    Raises:
        UnavailableError: W_O of this layer cannot be read exactly.
    """
    weight = model.weights[f"W_O.{layer}"]
    read = v.repeat_interleave(len(pattern) // len(v), dim=0)
    shares = torch.einsum("hk,hkd,hdm->hkm", pattern.to(weight.dtype), read.to(weight.dtype), weight)
    split, bias = _attention(model, layer, shares.flatten(0, 1))
    return split.unflatten(0, shares.shape[:2]), bias


def neurons(
    model: Weighted, layer: int, values: Float[Tensor, "... neuron"]
) -> tuple[Float[Tensor, "... neuron d_model"], Tensor | None]:
    """Each neuron's share of mlp_out, and the share of the bias.

    Raises:
        UnavailableError: W_out of this layer cannot be read exactly.
    """
    weight, bias = model.weights[f"W_out.{layer}"], model.weights.get(f"b_out.{layer}")
    return _added(model, layer, values.to(weight.dtype)[..., None] * weight, bias, post_norm(model, layer, "mlp"))


def post_norm(model: Weighted, layer: int, part: Literal["attn", "mlp"]) -> nn.Module | None:
    """The norm between what a part computes and what it adds to the stream, in families that have one."""
    arch = model.architecture
    own = {"attn": (arch.attn, arch.o), "mlp": (arch.mlp, arch.down)}[part]
    path = arch.attn_out if part == "attn" else arch.mlp_out
    return None if path is None or path in own else required(model.blocks[layer], path, "post-norm")


def _attention(model: Weighted, layer: int, shares: Tensor) -> tuple[Tensor, Tensor | None]:
    return _added(model, layer, shares, model.weights.get(f"b_O.{layer}"), post_norm(model, layer, "attn"))


def _added(
    model: Weighted, layer: int, shares: Float[Tensor, "... unit d_model"], bias: Tensor | None, after: nn.Module | None
) -> tuple[Tensor, Tensor | None]:
    """Shares and bias as the block adds them to the stream."""
    arch = model.architecture
    if after is not None:
        total = shares.sum(-2) if bias is None else shares.sum(-2) + bias
        norm = frozen(arch, after, total)
        shares = norm.scaled(shares.movedim(-2, 0)).movedim(0, -2)
        rest = [part for part in (None if bias is None else norm.scaled(bias), norm.bias) if part is not None]
        bias = sum(rest[1:], rest[0]) if rest else None
    factor = arch.residual_multiplier
    return shares * factor, None if bias is None else bias * factor
