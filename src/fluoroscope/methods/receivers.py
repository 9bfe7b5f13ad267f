"""Receiver heads: attention heads by which later steps look back at few earlier ones.

After Bogdan et al. 2025, "Thought Anchors". As there, steps that are close do not count, for every head looks nearby;
but two apart is far enough here, where it is four there, for the texts may be short.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope.methods import spans
from fluoroscope.sites import Site
from fluoroscope.trace import Trace

APART = 2
"""How many steps further on a step has to be to count."""


@dataclass(frozen=True)
class Receiver:
    """How one head singles out spans; the last ones, which nothing follows far enough behind, have no score.

    Args:
        site: canonical name of the head's z.
        kurtosis: excess kurtosis of the scores; None for fewer than four, or where all are equal.
        step: index of the span with the largest score.
        scores: mean attention that each span gets from later ones, per pair of tokens; None where it has no token.
    """

    site: str
    kurtosis: float | None
    step: int
    scores: tuple[float | None, ...]


def receivers(trace: Trace, steps: Sequence[slice]) -> tuple[Receiver, ...]:
    """Every head of a trace that keeps `pattern.*`, by layer; none where no two spans are far enough apart."""
    found: list[Receiver] = []
    for site in [site for site in trace.sites if site.name == "pattern"] if len(steps) > APART else []:
        scores = vertical(trace[site][0], steps)
        for unit, (row, sharp) in enumerate(zip(scores, kurtosis(scores).tolist(), strict=True)):
            told = tuple(value if isfinite(value) else None for value in row.tolist())
            best = int(row.nan_to_num(-1.0).argmax())
            found.append(Receiver(str(Site("z", site.layer, unit)), sharp if isfinite(sharp) else None, best, told))
    return tuple(found)


def vertical(pattern: Float[Tensor, "*head query key"], steps: Sequence[slice]) -> Float[Tensor, "*head step"]:
    """How much each span is looked at from the spans `APART` and more behind it, per pair of tokens.

    The mean attention between the tokens of two spans, averaged over the later ones. The first token of the text,
    where idle heads rest, counts for none; a span of this token alone is NaN.
    """
    keys = [slice(max(1, span.start), span.stop) for span in steps]
    sizes = torch.tensor([key.stop - key.start for key in keys], dtype=torch.float64, device=pattern.device)
    mean = spans.attention(pattern, steps, keys) / sizes
    return torch.stack([mean[..., place + APART :, place].mean(-1) for place in range(len(steps) - APART)], dim=-1)


def kurtosis(values: Float[Tensor, "*head step"]) -> Float[Tensor, "*head"]:
    """Excess kurtosis over the last axis, NaN entries left out: high where few values stand out of many.

    NaN where all are equal, or where fewer than 4 are left, of which none can stand out.
    """
    there = ~values.isnan()
    count = there.sum(-1)
    centred = torch.where(there, values - values.nanmean(-1, keepdim=True), 0.0)
    second, fourth = ((centred**power).sum(-1) / count for power in (2, 4))
    return torch.where((count >= 4) & (second > 0), fourth / second**2 - 3, torch.nan)
