"""What makes training on a CPU fast: attention, embedding and loss in bfloat16, written out."""

import functools
import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

ATTENTION = "training_bmm"
CHUNK = 1024


@functools.cache
def _causal(length: int, dtype: torch.dtype) -> Tensor:
    return torch.full((length, length), -math.inf).triu(1).to(dtype)


def attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """Causal attention over whole rows without padding, as explicit products."""
    batch, heads, length, width = query.shape
    groups = heads // key.shape[1]
    if groups > 1:
        key, value = (part.repeat_interleave(groups, dim=1) for part in (key, value))
    query, key, value = (part.reshape(batch * heads, length, width) for part in (query, key, value))
    mask = _causal(length, query.dtype).expand(batch * heads, length, length)
    scores = torch.baddbmm(mask, query, key.transpose(1, 2), alpha=kwargs.get("scaling") or width**-0.5)
    mixed = torch.bmm(scores.softmax(-1), value)
    return mixed.view(batch, heads, length, width).transpose(1, 2), None


ALL_ATTENTION_FUNCTIONS.register(ATTENTION, attention)


class _Lookup(torch.autograd.Function):
    """Rows of the embedding, whose gradient is added up in float32."""

    @staticmethod
    def forward(ctx: Any, master: Tensor, table: Tensor, ids: Tensor) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.rows = len(table)
        return table[ids]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (ids,) = ctx.saved_tensors
        (grad,) = grads
        total = torch.zeros(ctx.rows, grad.shape[-1])
        total.index_add_(0, ids.flatten(), grad.reshape(-1, grad.shape[-1]).float())
        return total, None, None


class _CrossEntropy(torch.autograd.Function):
    """Weighted sum of the cross-entropies of hidden @ table.T; forward makes the gradients too, chunk by chunk."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, master: Tensor, table: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        d_hidden, d_table = torch.empty_like(hidden), torch.zeros_like(table, dtype=torch.float32)
        losses = torch.zeros(())
        for start in range(0, len(hidden), CHUNK):
            part = slice(start, start + CHUNK)
            target, weight = targets[part, None], weights[part, None]
            p = (hidden[part] @ table.T).softmax(-1)
            right = p.gather(1, target).float()
            p.scatter_(1, target, 0.0)
            wrong = p.sum(-1, keepdim=True)
            # Exact near p = 1, where 1 - p would be lost in bfloat16.
            p.scatter_(1, target, -wrong)
            p *= weight.to(p.dtype)
            loss = torch.where(right > 0.5, -torch.log1p(-wrong.float().clamp(max=0.9)), -right.clamp(min=1e-30).log())
            losses += (loss * weight).sum()
            d_hidden[part] = p @ table
            d_table += p.T @ hidden[part]
        ctx.save_for_backward(d_hidden, d_table)
        return losses

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        d_hidden, d_table = ctx.saved_tensors
        return d_hidden * grads[0].to(d_hidden.dtype), d_table * grads[0], None, None, None


def lookup(master: Float[Tensor, "vocab d"], table: Float[Tensor, "vocab d"], ids: Int[Tensor, "batch pos"]) -> Tensor:
    """The rows of `table`, a bfloat16 copy of `master`, which gets the gradient."""
    return _Lookup.apply(master, table, ids)  # pyright: ignore[reportReturnType]


def cross_entropy(
    hidden: Float[Tensor, "rows d"],
    master: Float[Tensor, "vocab d"],
    table: Float[Tensor, "vocab d"],
    targets: Int[Tensor, "rows"],
    weights: Float[Tensor, "rows"],
) -> Float[Tensor, ""]:
    """Weighted sum of the losses in nats; `master` gets the gradient of `table`."""
    return _CrossEntropy.apply(hidden, master, table, targets, weights)  # pyright: ignore[reportReturnType]
