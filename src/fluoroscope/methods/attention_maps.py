"""Where attention goes: the pattern itself or what it moves, how widely and how far a head looks, and the way through.

A large weight on a small value moves little (Kobayashi et al. 2020, "Attention is Not Only a Weight"), so a pattern can
be weighted by the norm of the value, or of what the value becomes behind W_O.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fluoroscope.trace import Trace

if TYPE_CHECKING:
    from fluoroscope.model import Model

Weighting = Literal["pattern", "value", "output"]


def sites_needed(weighting: Weighting) -> list[str]:
    """What a trace must keep to be weighted."""
    return ["pattern.*"] if weighting == "pattern" else ["pattern.*", "v.*"]


def in_sight(trace: Trace, layer: int, row: int = 0) -> Bool[Tensor, "query key"]:
    """Which keys the mask of a layer leaves to each query, by its scores: a weight may round to 0 in plain sight.

    Args:
        trace: keeps `scores` of the layer.
    """
    scores = trace[f"scores.{layer}"][row]
    return (scores > torch.finfo(scores.dtype).min / 2).any(0)


def weighted(
    model: "Model", trace: Trace, layer: int, weighting: Weighting, row: int = 0
) -> Float[Tensor, "head query key"]:
    """The pattern of one layer, or the shares of what it moves: pattern times norm, each query summing to 1.

    The shares of a query that moves nothing at all are 0.

    Args:
        trace: keeps `sites_needed`.
        weighting: by nothing, by the norm of the value, or by that of the value behind its head's W_O.
        row: of the batch.

    Raises:
        UnavailableError: W_O of this layer cannot be read exactly.
    """
    pattern = trace[f"pattern.{layer}"][row].double()
    if weighting == "pattern":
        return pattern
    v = trace[f"v.{layer}"][row].double()
    moved = v.repeat_interleave(len(pattern) // len(v), dim=0)
    if weighting == "output":
        moved = moved @ model.weights[f"W_O.{layer}"].double()
    mass = pattern * moved.norm(dim=-1)[:, None]
    return mass / mass.sum(-1, keepdim=True).clamp_min(torch.finfo(mass.dtype).tiny)


def spread(shares: Float[Tensor, "*head query key"], seen: Bool[Tensor, "query key"]) -> Float[Tensor, "*head query"]:
    """Entropy over that of an even look at all keys in sight: 0 is one key, 1 all alike.

    NaN where one key is in sight, or all shares are 0.

    Args:
        seen: of `in_sight`.
    """
    whole = shares / shares.sum(-1, keepdim=True)  # an attention sink outside of the text takes part of the softmax
    count = seen.sum(-1)
    return torch.where(count > 1, torch.special.entr(whole).sum(-1) / count.double().log(), torch.nan)


def distance(shares: Float[Tensor, "*head query key"]) -> Float[Tensor, "*head query"]:
    """How many tokens back a head looks on average; NaN where all shares are 0."""
    places = torch.arange(shares.shape[-1], dtype=shares.dtype, device=shares.device)
    back = (places[:, None] - places).clamp_min(0)
    return (shares * back).sum(-1) / shares.sum(-1)


def rollout(layers: Iterable[Float[Tensor, "head query key"]]) -> Float[Tensor, "query token"]:
    """Which tokens reach each position when attention is followed through all blocks, half of it staying where it is.

    The mean over heads plus the identity, each row normed, multiplied over the blocks (Abnar & Zuidema 2020,
    "Quantifying Attention Flow in Transformers"). It knows nothing of MLPs, nor of what the heads move. Where no head
    moves anything, all of it stays.
    """
    way: Tensor | None = None
    for shares in layers:
        mean = shares.mean(0)
        stay = torch.eye(len(mean), dtype=mean.dtype, device=mean.device)
        total = mean.sum(-1, keepdim=True)
        step = torch.where(total > 0, mean / total, stay) + stay
        way = step / 2 if way is None else step / 2 @ way
    if way is None:
        raise ValueError("there is no layer to follow")
    return way
