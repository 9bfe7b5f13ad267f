"""Where attention goes: the pattern itself or what it moves, how widely and how far a head looks, and the way through.

A large weight on a small value moves little (Kobayashi et al. 2020, "Attention is Not Only a Weight"), so a pattern can
be weighted by the norm of the value, or of what the value becomes behind W_O.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fluoroscope.errors import ArgumentError
from fluoroscope.sites import Site
from fluoroscope.trace import Trace

if TYPE_CHECKING:
    from fluoroscope.model import Model

Weighting = Literal["pattern", "value", "output"]


def head(model: "Model", name: str) -> Site:
    """The pattern of a head in any spelling, such as L3H0.

    Raises:
        ArgumentError: it is no head.
        SiteError, UnavailableError: this model has no such site, or its pattern cannot be read.
    """
    site = model.site(name)
    if site.name not in ("z", "pattern") or site.unit is None:
        raise ArgumentError(f"head={name!r} is no head", "Write it as L3H0.")
    return model.site(Site("pattern", site.layer, site.unit))


def sites_needed(weighting: Weighting) -> list[str]:
    """What a trace must keep to be weighted."""
    return ["pattern.*"] if weighting == "pattern" else ["pattern.*", "v.*"]


def completed(
    model: "Model", pattern: Float[Tensor, "*head query key"]
) -> Float[Tensor, "*head query key"] | Float[Tensor, "*head query key+1"]:
    """A pattern as shares of 1: where the model has learned sinks, one more column at the end holds what they take."""
    if not model.architecture.sinks:
        return pattern
    outside = (1 - pattern.double().sum(-1, keepdim=True)).clamp_min(0)
    return torch.cat([pattern.double(), outside], dim=-1)


def in_sight(trace: Trace, layer: int, row: int = 0) -> Bool[Tensor, "query key"]:
    """Which keys the mask of a layer leaves to each query, by its scores: a weight may round to 0 in plain sight.

    Args:
        trace: keeps `scores` of the layer.
    """
    return left_open(trace[f"scores.{layer}"][row])


def left_open(scores: Float[Tensor, "head query key"]) -> Bool[Tensor, "query key"]:
    """The same of the scores themselves."""
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


@dataclass(frozen=True)
class Looks:
    """How each head of a layer looks: means over all tokens but the first, which sees only itself.

    NaN where no token has such a number.

    Args:
        spread: as `spread` says, over the tokens that see more than one key.
        largest: the largest share.
        first: the share of the first token, where heads that have nothing to do often rest (Xiao et al. 2023).
        distance: tokens back.
    """

    spread: Float[Tensor, "head"]
    largest: Float[Tensor, "head"]
    first: Float[Tensor, "head"]
    distance: Float[Tensor, "head"]


def looks(shares: Float[Tensor, "head query key"], seen: Bool[Tensor, "query key"]) -> Looks:
    """How each head looks on average.

    Args:
        seen: of `in_sight`.
    """
    later = shares[:, 1:]
    return Looks(
        spread=spread(shares, seen)[:, 1:].nanmean(-1),
        largest=later.amax(-1).mean(-1),
        first=later[..., 0].mean(-1),
        distance=distance(shares)[:, 1:].nanmean(-1),
    )


def total_variation(
    one: Float[Tensor, "*head query key"], other: Float[Tensor, "*head query key"]
) -> Float[Tensor, "*head query"]:
    """The share of its attention that each query gives to other keys: half the L1 distance, 0 (the same) to 1.

    What an attention sink outside of the text takes counts as one more key.
    """
    keys = (one - other).abs().sum(-1)
    outside = (one.sum(-1) - other.sum(-1)).abs()
    return (keys + outside) / 2


def rollout(layers: Iterable[Float[Tensor, "head query source"]]) -> Float[Tensor, "query source"]:
    """Which tokens reach each position when attention is followed through all blocks, half of it staying where it is.

    The mean over heads plus the identity, each row normed, multiplied over the blocks (Abnar & Zuidema 2020,
    "Quantifying Attention Flow in Transformers"). It knows nothing of MLPs, nor of what the heads move. Where no head
    moves anything, all of it stays. A learned sink, which the paper does not know, is one more source, from which
    nothing goes on: what a block gives it is there at the end too, so that every row sums to 1.

    Args:
        layers: shares by token, or by token and, in one more column, by the sink (`completed`).
    """
    way: Tensor | None = None
    for shares in layers:
        mean = shares.mean(0)
        stay = torch.eye(mean.shape[1], dtype=mean.dtype, device=mean.device)
        here, sink = stay[: len(mean)], stay[len(mean) :]
        total = mean.sum(-1, keepdim=True)
        step = (torch.where(total > 0, mean / total, here) + here) / 2
        way = step if way is None else step @ torch.cat([way, sink])
    if way is None:
        raise ValueError("there is no layer to follow")
    return way


def flow(layers: Iterable[Float[Tensor, "head query source"]]) -> Float[Tensor, "query source"]:
    """How much goes from each token to each: the mean of what all heads of all blocks take, each counting alike.

    Block by block, not followed through them as `rollout` does. Its sum instead of its mean, number of heads times
    as much, is what Circuit Trace draws as token flow.

    Args:
        layers: shares by token, or by token and, in one more column, by the sink (`completed`).
    """
    return torch.cat(list(layers)).mean(0)
